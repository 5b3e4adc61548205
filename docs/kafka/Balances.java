import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Balances and hourly volume from GoLLeM's Kafka topics, each record counted exactly once.
 *
 * <pre>java -cp 'target/kafka/libs/*' docs/kafka/Balances.java 127.0.0.1:9092 balances.json --until-end</pre>
 *
 * How exactly once comes about: sums and the position of the last record of each partition are one file, which is
 * replaced as a whole after each batch. After a crash both are as they were before the batch; reading goes on from
 * there, and a record that is not above the position of its partition was counted before, so it is dropped.
 *
 * Amounts are atoms: 10^-8 credits. Prices are atoms a unit.
 */
public final class Balances {
    private static final String LEDGER = "gollem.ledger";
    private static final String TRADES = "gollem.trades";
    private static final long HOUR_NS = 3_600_000_000_000L;
    private static final ObjectMapper JSON = new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);

    /** Where a partition was read to: the next offset, and the position of the last record counted. */
    public record Position(long nextOffset, long seq, long index, long leg) {
        boolean covers(Position other) {
            int order = Long.compare(other.seq, seq);
            order = order != 0 ? order : Long.compare(other.index, index);
            order = order != 0 ? order : Long.compare(other.leg, leg);
            return order <= 0;
        }
    }

    /** What was traded in an hour. */
    public record Volume(long units, long atoms, long trades) {
        Volume plus(long quantity, long price) {
            return new Volume(units + quantity, Math.addExact(atoms, Math.multiplyExact(price, quantity)), trades + 1);
        }
    }

    /** All that must change together. */
    public static final class State {
        public Map<String, Position> positions = new TreeMap<>();
        public Map<String, Map<String, Long>> balances = new TreeMap<>();
        public Map<String, Map<String, Volume>> volume = new TreeMap<>();
    }

    private final Path file;
    private final State state;

    private Balances(Path file) throws IOException {
        this.file = file;
        this.state = Files.exists(file) ? JSON.readValue(file.toFile(), State.class) : new State();
    }

    /** Counts one record, unless it was counted before. */
    private void take(ConsumerRecord<String, String> message) throws IOException {
        String partition = message.topic() + "/" + message.partition();
        Position position =
                new Position(message.offset() + 1, header(message, "seq"), header(message, "index"), header(message, "leg"));
        Position last = state.positions.get(partition);
        if (last != null && last.covers(position)) {
            return;
        }
        count(message.topic(), JSON.readTree(message.value()));
        state.positions.put(partition, position);
    }

    private static long header(ConsumerRecord<String, String> message, String name) {
        Header header = message.headers().lastHeader(name);
        return header == null ? 0 : Long.parseLong(new String(header.value(), StandardCharsets.US_ASCII));
    }

    /** Adds a record to the sums. */
    private void count(String topic, JsonNode record) {
        if (topic.equals(LEDGER)) {
            state.balances
                    .computeIfAbsent(record.get("account").asText(), account -> new TreeMap<>())
                    .merge(record.get("ledger").asText(), record.get("amount").asLong(), Math::addExact);
        } else {
            long seconds = record.get("at_ns").asLong() / HOUR_NS * 3_600;
            state.volume
                    .computeIfAbsent(record.get("instrument").asText(), instrument -> new TreeMap<>())
                    .compute(
                            Instant.ofEpochSecond(seconds).toString(),
                            (hour, volume) ->
                                    (volume == null ? new Volume(0, 0, 0) : volume)
                                            .plus(record.get("quantity").asLong(), record.get("price").asLong()));
        }
    }

    /** Replaces the file as a whole, so that a crash leaves either the old sums or the new ones. */
    private void save() throws IOException {
        Path next = file.resolveSibling(file.getFileName() + ".new");
        try (FileOutputStream out = new FileOutputStream(next.toFile())) {
            out.write(JSON.writeValueAsBytes(state));
            out.getFD().sync();
        }
        Files.move(next, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }

    /** Goes on where the sums stand; returns how far each partition reaches now. */
    private Map<TopicPartition, Long> begin(KafkaConsumer<String, String> consumer) {
        List<TopicPartition> partitions = new ArrayList<>();
        for (String topic : List.of(LEDGER, TRADES)) {
            for (PartitionInfo info : consumer.partitionsFor(topic)) {
                partitions.add(new TopicPartition(topic, info.partition()));
            }
        }
        Map<TopicPartition, Long> begins = consumer.beginningOffsets(partitions);
        Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
        consumer.assign(partitions);
        for (TopicPartition partition : partitions) {
            Position last = state.positions.get(partition.topic() + "/" + partition.partition());
            // A topic that was made anew may end below: then everything is read again, and dropped by position.
            boolean known = last != null
                    && begins.get(partition) <= last.nextOffset
                    && last.nextOffset <= ends.get(partition);
            consumer.seek(partition, known ? last.nextOffset : begins.get(partition));
        }
        return ends;
    }

    private void run(KafkaConsumer<String, String> consumer, boolean untilEnd, AtomicBoolean stopped)
            throws IOException {
        Map<TopicPartition, Long> ends = begin(consumer);
        while (!stopped.get()) {
            if (untilEnd && ends.entrySet().stream().allMatch(end -> consumer.position(end.getKey()) >= end.getValue())) {
                return;
            }
            ConsumerRecords<String, String> messages = consumer.poll(Duration.ofMillis(200));
            for (ConsumerRecord<String, String> message : messages) {
                take(message);
            }
            if (!messages.isEmpty()) {
                save();
            }
        }
    }

    private void report() throws IOException {
        state.balances.values().forEach(ledgers -> ledgers.values().removeIf(atoms -> atoms == 0));
        state.balances.values().removeIf(Map::isEmpty);
        System.out.println(
                JSON.writeValueAsString(new TreeMap<>(Map.of("balances", state.balances, "volume", state.volume))));
    }

    public static void main(String[] args) throws Exception {
        if (args.length < 2 || args.length > 3 || (args.length == 3 && !args[2].equals("--until-end"))) {
            System.err.println("usage: Balances.java HOST:PORT STATE [--until-end]");
            System.exit(2);
        }
        // No group: the positions are ours, Kafka's own offsets are not used.
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", args[0],
                "enable.auto.commit", false,
                "auto.offset.reset", "earliest",
                "key.deserializer", StringDeserializer.class,
                "value.deserializer", StringDeserializer.class);
        Balances balances = new Balances(Path.of(args[1]).toAbsolutePath());
        AtomicBoolean stopped = new AtomicBoolean();
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopped.set(true);
            try {
                main.join();
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
        }));
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings)) {
            balances.run(consumer, args.length == 3, stopped);
        }
        balances.report();
    }
}
