package gollem.peers;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import net.openhft.affinity.Affinity;

/**
 * Measures exchange-core over an order file and prints one JSON line, with the keys of benches/src/measure.rs.
 *
 * Arguments: risk|book FILE WORKLOAD CORE REPETITIONS LATENCY_PASSES LIMIT. The whole file runs at least twice before
 * anything is measured, so that the compiler has seen it. Only the measuring thread is pinned: compilation and collection of
 * garbage may use the other cores, and do not count into the thread's processor time.
 */
public final class Main {
    private static final int CLOCK_PAIRS = 1_000_000;
    /** After so many operations the compiler has nothing left to do. */
    private static final long COMPILED_OPERATIONS = 10_000_000;
    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

    private Main() {
    }

    public static void main(final String[] arguments) throws IOException {
        final boolean withRisk = arguments[0].equals("risk");
        final OrderFile file = new OrderFile(Path.of(arguments[1]), Long.parseLong(arguments[6]));
        final int repetitions = Integer.parseInt(arguments[4]);
        final int latencyPasses = Integer.parseInt(arguments[5]);
        final int end = file.unmeasured + file.measured;
        Affinity.setAffinity(Integer.parseInt(arguments[3]));

        final Engine verified = new Engine(file, withRisk);
        for (int record = 0; record < end; record++) {
            verified.applyHashed(OrderFile.at(record));
        }
        long seen = end;
        while (seen < COMPILED_OPERATIONS) {
            whole(file, withRisk, end, verified);
            seen += end;
        }
        final long[] times = new long[repetitions];
        for (int pass = 0; pass < repetitions; pass++) {
            times[pass] = whole(file, withRisk, end, verified);
        }
        final long clock = clockCost();
        each(file, withRisk, end, verified);
        int[] best = null;
        for (int pass = 0; pass < latencyPasses; pass++) {
            final int[] samples = each(file, withRisk, end, verified);
            if (best == null || quantile(samples, 0.999) < quantile(best, 0.999)) {
                best = samples;
            }
        }
        Arrays.sort(times);
        final long commands = end - file.unmeasured;
        final String note = withRisk ? "" : "no accounts, no funds checked or settled";
        System.out.printf(Locale.ROOT, "{\"engine\":\"%s\",\"workload\":\"%s\",\"seed\":%d,\"commands\":%d,"
                        + "\"commands_per_s\":%d,\"best_commands_per_s\":%d,\"p50_ns\":%d,\"p99_ns\":%d,\"p999_ns\":%d,"
                        + "\"clock_ns\":%d,\"trades\":%d,\"quantity\":%d,\"hash\":\"%016x\",\"note\":\"%s\"}%n",
                withRisk ? "exchange-core with risk" : "exchange-core book", arguments[2], file.seed, commands,
                rate(commands, times[repetitions / 2]), rate(commands, times[0]),
                Math.max(0, quantile(best, 0.5) - clock), Math.max(0, quantile(best, 0.99) - clock),
                Math.max(0, quantile(best, 0.999) - clock), clock,
                verified.trades, verified.quantity, verified.hash, note);
    }

    private static Engine warm(final OrderFile file, final boolean withRisk) {
        final Engine engine = new Engine(file, withRisk);
        for (int record = 0; record < file.unmeasured; record++) {
            engine.apply(OrderFile.at(record));
        }
        return engine;
    }

    private static long whole(final OrderFile file, final boolean withRisk, final int end, final Engine verified) {
        final Engine engine = warm(file, withRisk);
        final long started = THREADS.getCurrentThreadCpuTime();
        for (int record = file.unmeasured; record < end; record++) {
            engine.apply(OrderFile.at(record));
        }
        final long took = THREADS.getCurrentThreadCpuTime() - started;
        same(engine, verified);
        return took;
    }

    private static int[] each(final OrderFile file, final boolean withRisk, final int end, final Engine verified) {
        final Engine engine = warm(file, withRisk);
        final int[] samples = new int[end - file.unmeasured];
        for (int record = file.unmeasured; record < end; record++) {
            final long started = System.nanoTime();
            engine.apply(OrderFile.at(record));
            samples[record - file.unmeasured] = (int) Math.min(Integer.MAX_VALUE, System.nanoTime() - started);
        }
        same(engine, verified);
        Arrays.sort(samples);
        return samples;
    }

    private static void same(final Engine engine, final Engine verified) {
        if (engine.trades != verified.trades || engine.quantity != verified.quantity) {
            throw new IllegalStateException("a timed pass made other trades than the verification");
        }
    }

    private static long clockCost() {
        final int[] pairs = new int[CLOCK_PAIRS];
        for (int pair = 0; pair < CLOCK_PAIRS; pair++) {
            final long started = System.nanoTime();
            pairs[pair] = (int) (System.nanoTime() - started);
        }
        Arrays.sort(pairs);
        return quantile(pairs, 0.5);
    }

    private static long quantile(final int[] sorted, final double quantile) {
        return sorted[(int) Math.min(sorted.length - 1, Math.floor(sorted.length * quantile))];
    }

    private static long rate(final long commands, final long nanoseconds) {
        return commands * 1_000_000_000L / Math.max(1, nanoseconds);
    }
}
