package gollem.peers;

import java.io.IOException;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * An order file in the format LOBWORK1, mapped into memory; benches/src/workload.rs describes every field.
 */
final class OrderFile {
    static final int PLACE = 1;
    static final int CANCEL = 2;
    static final int MOVE = 3;
    static final int REDUCE = 4;
    private static final int HEADER_BYTES = 128;
    private static final int RECORD_BYTES = 32;
    /** The bytes of "LOBWORK1" as a little-endian number. */
    private static final long MAGIC = 0x314B_524F_5742_4F4CL;

    final MappedByteBuffer bytes;
    final int unmeasured;
    final int measured;
    final long maxPrice;
    final long seed;

    /** Maps a file of which at most that many operations are measured, after a warm-up of at most a fifth of them. */
    OrderFile(final Path path, final long limit) throws IOException {
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
            bytes = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size());
        }
        bytes.order(ByteOrder.LITTLE_ENDIAN);
        bytes.load();
        if (bytes.capacity() < HEADER_BYTES || bytes.getLong(0) != MAGIC || bytes.getInt(8) != 1 || bytes.getInt(12) != RECORD_BYTES) {
            throw new IOException(path + " is not an order file");
        }
        final long prefill = bytes.getLong(16);
        final long warm = bytes.getLong(24);
        final long all = bytes.getLong(32);
        if (bytes.capacity() != HEADER_BYTES + RECORD_BYTES * (prefill + warm + all)) {
            throw new IOException(path + " has another length than its header says");
        }
        measured = Math.toIntExact(Math.min(all, limit));
        unmeasured = Math.toIntExact(prefill + (limit < all ? Math.min(warm, limit / 5) : warm));
        maxPrice = bytes.getLong(48);
        seed = bytes.getLong(72);
    }

    /** Where a record begins. */
    static int at(final int record) {
        return HEADER_BYTES + RECORD_BYTES * record;
    }

    int kind(final int at) {
        return bytes.get(at);
    }

    boolean isBid(final int at) {
        return bytes.get(at + 1) == 0;
    }

    boolean isImmediate(final int at) {
        return bytes.get(at + 2) == 1;
    }

    int user(final int at) {
        return bytes.getInt(at + 4);
    }

    long id(final int at) {
        return bytes.getLong(at + 8);
    }

    long price(final int at) {
        return bytes.getLong(at + 16);
    }

    long quantity(final int at) {
        return bytes.getLong(at + 24);
    }
}
