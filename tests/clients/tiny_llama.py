"""llama.cpp's own server with a model of a hundred kilobytes, which this script writes first.

The model is a llama with one layer and a vocabulary of bytes. Its weights come from a fixed seed, so its words are
nonsense, but each token is computed: embedding, attention, feed-forward, sampling. Only printable ASCII can win, so that
every token is one character and the answer is text.

Prints its address once it serves, and serves until its standard input closes.
Usage: tiny_llama.py MODEL_FILE
"""

import math
import random
import struct
import sys
import time
import urllib.request

# GGUF (docs/gguf.md in ggml's repository): types of metadata values, and of tensors.
UINT32, INT32, FLOAT32, STRING, ARRAY = 4, 5, 6, 8, 9
F32 = 0
ALIGNMENT = 32
# Kinds of tokens in `tokenizer.ggml.token_type`.
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6

WIDTH, HEADS, FEED_FORWARD, CONTEXT = 32, 2, 64, 512


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key, kind, value):
    return string(key) + struct.pack("<I", kind) + value


def number(key, value, kind=UINT32, form="<I"):
    return pair(key, kind, struct.pack(form, value))


def array(key, kind, values, pack):
    return pair(key, ARRAY, struct.pack("<IQ", kind, len(values)) + b"".join(map(pack, values)))


def write_model(path):
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    kinds = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256
    metadata = [
        pair("general.architecture", STRING, string("llama")),
        pair("general.name", STRING, string("tiny")),
        number("llama.block_count", 1),
        number("llama.context_length", CONTEXT),
        number("llama.embedding_length", WIDTH),
        number("llama.feed_forward_length", FEED_FORWARD),
        number("llama.attention.head_count", HEADS),
        number("llama.rope.dimension_count", WIDTH // HEADS),
        number("llama.attention.layer_norm_rms_epsilon", 1e-5, FLOAT32, "<f"),
        pair("tokenizer.ggml.model", STRING, string("llama")),
        array("tokenizer.ggml.tokens", STRING, tokens, string),
        array("tokenizer.ggml.scores", FLOAT32, [0.0] * len(tokens), lambda score: struct.pack("<f", score)),
        array("tokenizer.ggml.token_type", INT32, kinds, lambda kind: struct.pack("<i", kind)),
        number("tokenizer.ggml.bos_token_id", 1),
        number("tokenizer.ggml.eos_token_id", 2),
    ]
    dice = random.Random(1)

    def weights(rows, columns):
        return [[dice.gauss(0, 1 / math.sqrt(columns)) for _ in range(columns)] for _ in range(rows)]

    def only_printable(rows):
        return [row if 32 <= token - 3 < 127 else [0.0] * WIDTH for token, row in enumerate(rows)]

    ones = [[1.0] * WIDTH]
    tensors = {
        "token_embd.weight": weights(len(tokens), WIDTH),
        "output_norm.weight": ones,
        "output.weight": only_printable(weights(len(tokens), WIDTH)),
        "blk.0.attn_norm.weight": ones,
        "blk.0.ffn_norm.weight": ones,
        "blk.0.attn_q.weight": weights(WIDTH, WIDTH),
        "blk.0.attn_k.weight": weights(WIDTH, WIDTH),
        "blk.0.attn_v.weight": weights(WIDTH, WIDTH),
        "blk.0.attn_output.weight": weights(WIDTH, WIDTH),
        "blk.0.ffn_gate.weight": weights(FEED_FORWARD, WIDTH),
        "blk.0.ffn_up.weight": weights(FEED_FORWARD, WIDTH),
        "blk.0.ffn_down.weight": weights(WIDTH, FEED_FORWARD),
    }
    header = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata)) + b"".join(metadata)
    data = b""
    for name, rows in tensors.items():
        # The first dimension is the one that is contiguous; a single row is a vector.
        sizes = [len(rows[0])] if rows is ones else [len(rows[0]), len(rows)]
        header += string(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, F32, len(data))
        for row in rows:
            data += struct.pack(f"<{len(row)}f", *row)
        data += bytes(-len(data) % ALIGNMENT)
    with open(path, "wb") as file:
        file.write(header + bytes(-len(header) % ALIGNMENT) + data)


def serve(path):
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.model_alias = ["tiny"]
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_ctx = CONTEXT
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = 1
    parameters.chat_template = "{% for message in messages %}{{ message.content }}\n{% endfor %}"
    server = xllamacpp.Server(parameters)
    address = server.listening_address
    while True:
        try:
            with urllib.request.urlopen(f"{address}/health") as answer:
                if answer.status == 200:
                    break
        except OSError:
            pass
        time.sleep(0.02)
    print(f"listening on {address}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    write_model(sys.argv[1])
    serve(sys.argv[1])
