from tests.fakes.deployment import Deployment


def test_a_job_goes_through_its_states_one_by_one(deployment: Deployment) -> None:
    job = deployment.run(deployment.register())
    assert job.state == "READY", job.error
    assert deployment.states(job) == ["REGISTERED", "VERIFYING", "IMPORTING", "AWAITING", "PUBLISHING", "READY"]
