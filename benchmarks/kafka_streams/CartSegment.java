import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.Reader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The segment "count(add_to_cart, 3d) >= 3" as one would write it with Kafka Streams: RocksDB, JSON events keyed by user.
 *
 * <p>Of each user the three latest times and whether he is in; members leave at their deadline, by the time of the
 * events. It does less than Muster: no copies of events are recognised, nothing is archived.
 *
 * <p>Arguments: file with the properties of a client, topic, topic of changes, events, directory of state, threads.
 */
public final class CartSegment implements Processor<String, byte[], String, String> {
  private static final String USERS = "users";
  private static final String DEADLINES = "deadlines";
  private static final int TIMES = 3;
  private static final long WINDOW_MS = Duration.ofDays(3).toMillis();
  private static final int STATE_BYTES = TIMES * Long.BYTES + 1;
  private static final JsonFactory JSON = new JsonFactory();

  private static final AtomicLong SEEN = new AtomicLong();
  private static final AtomicLong ENTERED = new AtomicLong();
  private static final AtomicLong LEFT = new AtomicLong();
  private static final AtomicLong BEGAN = new AtomicLong();
  private static final AtomicLong ENDED = new AtomicLong();
  private static final CountDownLatch DONE = new CountDownLatch(1);
  private static long events;

  private ProcessorContext<String, String> context;
  private KeyValueStore<String, byte[]> users;
  private KeyValueStore<byte[], byte[]> deadlines;
  private long now;
  private long swept;

  @Override
  public void init(ProcessorContext<String, String> given) {
    context = given;
    users = context.getStateStore(USERS);
    deadlines = context.getStateStore(DEADLINES);
    context.schedule(Duration.ofSeconds(1), PunctuationType.WALL_CLOCK_TIME, at -> sweep());
  }

  @Override
  public void process(Record<String, byte[]> record) {
    BEGAN.compareAndSet(0, System.nanoTime());
    try {
      take(record.key(), record.value());
    } catch (IOException exc) {
      throw new IllegalStateException(exc);
    }
    if (SEEN.incrementAndGet() == events) {
      ENDED.set(System.nanoTime());
      DONE.countDown();
    }
  }

  private void take(String user, byte[] value) throws IOException {
    String event = null;
    long at = 0;
    try (JsonParser parser = JSON.createParser(value)) {
      parser.nextToken();
      while (parser.nextToken() != JsonToken.END_OBJECT) {
        String name = parser.currentName();
        parser.nextToken();
        switch (name) {
          case "event" -> event = parser.getText();
          case "occurred_at" -> at = parser.getLongValue();
          default -> parser.skipChildren();
        }
      }
    }
    now = Math.max(now, at);
    if (now - swept >= Duration.ofHours(1).toMillis()) {
      sweep();
    }
    if ("add_to_cart".equals(event)) {
      count(user, at);
    }
  }

  private void count(String user, long at) {
    byte[] stored = users.get(user);
    long[] times = new long[TIMES];
    boolean inside = false;
    if (stored != null) {
      ByteBuffer buffer = ByteBuffer.wrap(stored);
      for (int k = 0; k < TIMES; k++) {
        times[k] = buffer.getLong();
      }
      inside = buffer.get() == 1;
    }
    int place = 0;
    while (place < TIMES && times[place] >= at) {
      place++;
    }
    if (place == TIMES) {
      return;
    }
    long before = times[TIMES - 1];
    System.arraycopy(times, place, times, place + 1, TIMES - 1 - place);
    times[place] = at;
    answer(user, times, inside, before);
  }

  private void answer(String user, long[] times, boolean inside, long before) {
    boolean in = times[TIMES - 1] > now - WINDOW_MS;
    if (inside && before != times[TIMES - 1]) {
      deadlines.delete(deadline(before, user));
    }
    if (in) {
      deadlines.put(deadline(times[TIMES - 1], user), new byte[0]);
    }
    if (in != inside) {
      (in ? ENTERED : LEFT).incrementAndGet();
      context.forward(new Record<>(user, in ? "entered" : "left", now));
    }
    ByteBuffer buffer = ByteBuffer.allocate(STATE_BYTES);
    for (long time : times) {
      buffer.putLong(time);
    }
    users.put(user, buffer.put((byte) (in ? 1 : 0)).array());
  }

  /** Whose third latest event is too old leaves. */
  private void sweep() {
    swept = now;
    List<byte[]> due = new ArrayList<>();
    byte[] last = ByteBuffer.allocate(Long.BYTES).putLong(now + 1).array();
    try (KeyValueIterator<byte[], byte[]> all = deadlines.range(new byte[Long.BYTES], last)) {
      while (all.hasNext()) {
        KeyValue<byte[], byte[]> one = all.next();
        due.add(one.key);
      }
    }
    for (byte[] key : due) {
      deadlines.delete(key);
      String user = new String(key, Long.BYTES, key.length - Long.BYTES, StandardCharsets.UTF_8);
      byte[] state = users.get(user);
      state[STATE_BYTES - 1] = 0;
      users.put(user, state);
      LEFT.incrementAndGet();
      context.forward(new Record<>(user, "left", now));
    }
  }

  private static byte[] deadline(long at, String user) {
    byte[] id = user.getBytes(StandardCharsets.UTF_8);
    return ByteBuffer.allocate(Long.BYTES + id.length).putLong(at + WINDOW_MS).put(id).array();
  }

  public static void main(String[] arguments) throws InterruptedException, IOException {
    events = Long.parseLong(arguments[3]);
    Properties properties = new Properties();
    properties.put(StreamsConfig.APPLICATION_ID_CONFIG, "bench-" + arguments[1]);
    try (Reader file = Files.newBufferedReader(Path.of(arguments[0]))) {
      properties.load(file);
    }
    properties.put(StreamsConfig.STATE_DIR_CONFIG, arguments[4]);
    properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, arguments[5]);
    properties.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
    Topology topology = new Topology();
    topology.addSource("events", Serdes.String().deserializer(), Serdes.ByteArray().deserializer(), arguments[1]);
    topology.addProcessor("segment", CartSegment::new, "events");
    topology.addStateStore(
        Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(USERS), Serdes.String(), Serdes.ByteArray())
            .withCachingEnabled(),
        "segment");
    topology.addStateStore(
        Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore(DEADLINES), Serdes.ByteArray(), Serdes.ByteArray())
            .withCachingEnabled(),
        "segment");
    topology.addSink(
        "changes", arguments[2], Serdes.String().serializer(), Serdes.String().serializer(), "segment");
    KafkaStreams streams = new KafkaStreams(topology, properties);
    streams.start();
    boolean done = DONE.await(15, TimeUnit.MINUTES);
    System.out.printf(
        "{\"events\": %d, \"seconds\": %.3f, \"entered\": %d, \"left\": %d}%n",
        SEEN.get(), (ENDED.get() - BEGAN.get()) / 1e9, ENTERED.get(), LEFT.get());
    streams.close(Duration.ofSeconds(30));
    System.exit(done ? 0 : 1);
  }
}
