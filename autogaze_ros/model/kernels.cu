// The decoder and the vision model in a handful of CUDA kernels, one for each stage of a layer.
//
// A frame of AutoGaze is a chain of some hundred tiny products, each far too small to fill a GPU: what costs time is
// the number of launches and the latency of each, not arithmetic. So every kernel here is one whole stage (norm,
// product, rotation and store; or gate, up and SiLU), all are captured into CUDA graphs, and nothing but the
// streams' addresses and counters changes from frame to frame.
//
// Compiled at run time (NVRTC) with the model's sizes as macros:
//   HIDDEN HEADS HEAD_DIM INNER VOCAB SLOTS      decoder; SLOTS ids are proposed at once
//   TOKENS GRID PATCH VDIM                       vision tokens a frame, cells a side, pixels a cell, channels
//   FLOAT32_POSITIONS RMS_EPS LN_EPS
//   STORE                                        0: weights, keys and values are float32; 1: bfloat16; 2: float16
// Sums are float32 throughout. A stream's tokens are numbered from its oldest remembered one ("logical" index);
// token j lies in ring slot (start + j) % capacity and, as a twin, capacity further on.

#if STORE == 0
typedef float stored;
__device__ __forceinline__ float load(const stored* p) { return *p; }
__device__ __forceinline__ stored pack(float v) { return v; }
#elif STORE == 1
typedef unsigned short stored;
__device__ __forceinline__ float load(const stored* p) { return __uint_as_float((unsigned)*p << 16); }
__device__ __forceinline__ stored pack(float v) {  // to nearest, ties to even
    unsigned u = __float_as_uint(v);
    return (stored)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}
#else
typedef unsigned short stored;
__device__ __forceinline__ float load(const stored* p) {
    float v;
    asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(*p));
    return v;
}
__device__ __forceinline__ stored pack(float v) {
    stored h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(v));
    return h;
}
#endif

typedef long long int64;

#define HALF (HEAD_DIM / 2)
#define ROWS (SLOTS + TOKENS)  // of a prefill; pending ids are right-aligned in the first SLOTS rows
#define IDS (VOCAB - 1)
#define LOG2E 1.4426950408889634f
#define NEG_INF __int_as_float(0xff800000)

// What the host says about one stream's frame.
struct Stream {
    int64 keys, values;  // (layers, HEADS, 2 * capacity, HEAD_DIM)
    int64 memory;        // (2, TOKENS, VDIM), what earlier frames add to the next two
    int64 position;      // of the first token of this prefill
    int64 start, length, capacity;
    int64 pending;       // how many ids of the last block enter first
    int64 budget;
    int64 threshold;     // bits of a float32; -inf for none
    int64 ids[SLOTS];    // the pending ids
};

// What the device knows about it, and all that the host reads back.
struct Result {
    int slots, blocks, done, bad;
    int ids[IDS];
    float confidence[IDS];
    float loss[IDS];
};

// Tokens in memory once the pass before decode step `blocks` has run; each further step adds SLOTS.
__device__ __forceinline__ int tokens_before(const Stream& s, int step) {
    return step < 0 ? (int)s.length : (int)(s.length + s.pending) + TOKENS + step * SLOTS;
}

// ---------------------------------------------------------------------------------------------------------------
// Preprocessing: Pillow's antialiased bilinear resize in its own fixed point, then scale, shift and normalise.

extern "C" __global__ void resize_columns(const unsigned char* __restrict__ frame, unsigned char* __restrict__ out,
                                          const int* __restrict__ first, const int* __restrict__ weights, int taps,
                                          int height, int size, int width) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= height * width * 3) return;
    int channel = i % 3, x = i / 3 % width, y = i / 3 / width;
    const unsigned char* row = frame + ((int64)y * size + first[x]) * 3 + channel;
    int room = min(taps, size - first[x]);
    int sum = 1 << 21;
    for (int t = 0; t < room; t++) sum += row[t * 3] * weights[x * taps + t];
    out[i] = (unsigned char)min(sum >> 22, 255);
}

extern "C" __global__ void resize_rows(const unsigned char* __restrict__ columns, float* __restrict__ out,
                                       const int* __restrict__ first, const int* __restrict__ weights, int taps,
                                       int size, int height, int width, float scale, float offset,
                                       float mean0, float mean1, float mean2, float std0, float std1, float std2,
                                       int bgr) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= 3 * height * width) return;
    columns += (int64)blockIdx.y * size * width * 3;
    out += (int64)blockIdx.y * 3 * height * width;
    int x = i % width, y = i / width % height, channel = i / width / height;
    const unsigned char* column = columns + ((int64)first[y] * width + x) * 3 + (bgr ? 2 - channel : channel);
    int room = min(taps, size - first[y]);
    int sum = 1 << 21;
    for (int t = 0; t < room; t++) sum += column[(int64)t * width * 3] * weights[y * taps + t];
    float v = __fadd_rn(__fmul_rn((float)min(sum >> 22, 255), scale), offset);
    float mean = channel == 0 ? mean0 : channel == 1 ? mean1 : mean2;
    float std = channel == 0 ? std0 : channel == 1 ? std1 : std2;
    out[i] = __fdiv_rn(__fsub_rn(v, mean), std);
}

// ---------------------------------------------------------------------------------------------------------------
// Begin a frame: rows of the prefill, their rotary angles, the angles of the decode steps, and a clean result.

__device__ void angle(int64 position, int i, const float* frequency, const int64* turns, float* cosine, float* sine) {
    if (position < FLOAT32_POSITIONS) {
        sincosf((float)position * frequency[i], sine, cosine);
    } else {
        // Whole turns overflow and vanish; what is left, as a signed fraction of a turn, has 32 exact bits.
        int fraction = (int)((unsigned long long)(position * turns[i]) >> 32);
        sincospif((float)fraction * 4.656612873077393e-10f, sine, cosine);  // 2**-31: half turns
    }
}

extern "C" __global__ void begin_frame(const Stream* __restrict__ streams, Result* __restrict__ results,
                                       unsigned char* __restrict__ taken, const stored* __restrict__ embedding,
                                       const float* __restrict__ frequency, const int64* __restrict__ turns,
                                       float* __restrict__ hidden, float2* __restrict__ angles) {
    int row = blockIdx.x, n = blockIdx.y, t = threadIdx.x;
    const Stream& s = streams[n];
    int skipped = SLOTS - (int)s.pending;
    if (row < SLOTS) {
        int id = row < skipped ? IDS : (int)s.ids[row - skipped];
        for (int c = t; c < HIDDEN; c += blockDim.x)
            hidden[((int64)n * ROWS + row) * HIDDEN + c] = load(embedding + id * HIDDEN + c);
    }
    int64 position = s.position + max(row - skipped, 0);
    for (int i = t; i < HALF; i += blockDim.x) {
        float2 a;
        angle(position, i, frequency, turns, &a.x, &a.y);
        angles[((int64)n * ROWS + row) * HALF + i] = a;
    }
    if (row == 0) {
        for (int v = t; v < VOCAB; v += blockDim.x) taken[n * VOCAB + v] = v == IDS;
        if (t == 0) {
            Result& r = results[n];
            r.slots = r.blocks = r.done = r.bad = 0;
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Large products, for the rows of a prefill: (rows, K) x (K, N), tiles of 16 * TM rows by 64 columns. Chunks of the
// sum are copied to shared memory while earlier ones are multiplied.

#define CHUNK 32
#define BN 64
enum Input { ROWS_OF_X, PATCHES, NEIGHBOURS };
enum Output { QKV, RESIDUAL, SWIGLU, PARTIAL, TOKENS_OUT };

struct Linear {
    const float* x;        // ROWS_OF_X: (rows, K); PATCHES: pixels (n, 3, side, side); NEIGHBOURS: (n, TOKENS, VDIM)
    const stored* weight;  // (K, N)
    float* out;
    const float* bias;     // TOKENS_OUT: (TOKENS, N)
    const float2* angles;  // QKV
    const Stream* streams; // QKV
    int rows, K, N, layer;
};

// 16 bytes to shared memory on their way; zeros where there is no source.
__device__ __forceinline__ void copy16(void* to, const void* from) {
    unsigned address = (unsigned)__cvta_generic_to_shared(to);
    int size = from ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from ? from : to), "r"(size));
}
__device__ __forceinline__ void copies_sent() { asm volatile("cp.async.commit_group;"); }
template <int LATER>
__device__ __forceinline__ void copies_arrived() {  // all but the last LATER groups
    asm volatile("cp.async.wait_group %0;" ::"n"(LATER));
}

__device__ __forceinline__ float4 load4(const float* p) { return *(const float4*)p; }
#if STORE
__device__ __forceinline__ float4 load4(const stored* p) {
    return make_float4(load(p), load(p + 1), load(p + 2), load(p + 3));
}
#endif

// Matrix units, at float32's precision: each operand is split into two parts of 11 bits, which TF32 holds, and all but
// the product of the two small parts is added up. A lone TF32 product would lose half of the digits.
struct Split {
    unsigned high, low;
};
__device__ __forceinline__ Split split(float v) {
    Split s;
    s.high = __float_as_uint(v) & 0xffffe000u;
    s.low = __float_as_uint(v - __uint_as_float(s.high));  // the units ignore what is below its own 11 bits
    return s;
}
__device__ __forceinline__ void mma(float* c, unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0,
                                    unsigned b1) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
// c (16 x 8) += a (16 x 8) b (8 x 8). With g = lane / 4 and t = lane % 4 a thread has
//   a: (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)    b: (t, g), (t + 4, g)
//   c: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)
// A product waits for the one before it on the same c, so callers do part 0 of all their tiles, then 1, then 2.
__device__ __forceinline__ void multiply(int part, float* c, const Split* a, const Split* b) {
    if (part == 0) mma(c, a[0].low, a[1].low, a[2].low, a[3].low, b[0].high, b[1].high);
    if (part == 1) mma(c, a[0].high, a[1].high, a[2].high, a[3].high, b[0].low, b[1].low);
    if (part == 2) mma(c, a[0].high, a[1].high, a[2].high, a[3].high, b[0].high, b[1].high);
}

// Where four neighbours in the sum's direction lie, null for zeros.
template <int INPUT>
__device__ __forceinline__ const float* input(const Linear& a, int row, int k) {
    if (row >= a.rows || k >= a.K) return nullptr;
    if (INPUT == ROWS_OF_X) return a.x + (int64)row * a.K + k;
    int n = row / TOKENS, cell = row % TOKENS, y = cell / GRID, x = cell % GRID;
    if (INPUT == PATCHES) {
        int channel = k / (PATCH * PATCH), py = k / PATCH % PATCH, px = k % PATCH;
        return a.x + (((int64)n * 3 + channel) * GRID * PATCH + y * PATCH + py) * (GRID * PATCH) + x * PATCH + px;
    }
    int tap = k / VDIM, channel = k % VDIM;
    y += tap / 3 - 1;
    x += tap % 3 - 1;
    if (y < 0 || y >= GRID || x < 0 || x >= GRID) return nullptr;
    return a.x + ((int64)n * TOKENS + y * GRID + x) * VDIM + channel;
}

// Rotate and store what a query-key-value product gave for one pair of neighbouring channels of one token.
__device__ __forceinline__ void store_pair(const Stream& s, int layer, int column, int logical, float2 a,
                                           float first, float second, float* query) {
    int part = column / HIDDEN, head = column % HIDDEN / HEAD_DIM, i = column % HEAD_DIM;  // and i + 1
    if (part < 2) {
        float turned = first * a.x - second * a.y;
        second = second * a.x + first * a.y;
        first = turned;
    }
    if (part == 0) {
        const float scale = LOG2E * rsqrtf((float)HEAD_DIM);  // softmax in powers of two
        query[head * HEAD_DIM + i] = first * scale;
        query[head * HEAD_DIM + i + 1] = second * scale;
        return;
    }
    stored* memory = (stored*)(part == 1 ? s.keys : s.values);
    int capacity = (int)s.capacity, slot = (int)s.start + logical;
    if (slot >= capacity) slot -= capacity;
    memory += (((int64)layer * HEADS + head) * 2 * capacity + slot) * HEAD_DIM + i;
    stored one = pack(first), two = pack(second);
    memory[0] = one;
    memory[1] = two;
    memory += (int64)capacity * HEAD_DIM;
    memory[0] = one;
    memory[1] = two;
}

// Few rows and columns (TM = 1): 16 warps, 8 side by side and two sharing each chunk's sum, because a lone warp would
// spend its time waiting for its own last instruction. More of either (TM = 2, 4): 8 warps with larger tiles, which
// read less.
template <int INPUT, int OUTPUT, bool NORM, int TM>
__device__ void linear(const Linear& a, int splits) {
    const int BM = 16 * TM, STAGES = TM == 1 ? 4 : TM == 2 ? 3 : 2, XP = CHUNK + 4, WP = BN + 8, GROUP = 16 / sizeof(stored);
    const int MT = TM == 4 ? 2 : 1, NT = TM == 1 ? 1 : 2, SUMS = TM == 1 ? 2 : 1;  // tiles of 16 x 8 of a warp
    const int ACROSS = BN / 8 / NT, DOWN = TM / MT, THREADS = 32 * ACROSS * DOWN * SUMS;
    __shared__ __align__(16) float xs[STAGES][BM][XP];
    __shared__ __align__(16) stored ws[STAGES][CHUNK][WP];
    int t = threadIdx.x, lane = t % 32, warp = t / 32, lg = lane / 4, lt = lane % 4;
    int half = warp / (ACROSS * DOWN), wr = warp / ACROSS % DOWN * (MT * 16), wc = warp % ACROSS * (NT * 8);
    int row0 = blockIdx.y * BM, column0 = blockIdx.x * BN;
    int chunks = (a.K + CHUNK - 1) / CHUNK;
    int begin = chunks * blockIdx.z / splits, end = chunks * (blockIdx.z + 1) / splits;
    float sums[3][MT][NT][4] = {}, squares[MT][2] = {};

    auto fetch = [&](int chunk) {
        if (chunk < end) {
            int stage = (chunk - begin) % STAGES;
#pragma unroll
            for (int i = t; i < BM * CHUNK / 4; i += THREADS) {
                int r = i / (CHUNK / 4), k = i % (CHUNK / 4) * 4;
                copy16(&xs[stage][r][k], input<INPUT>(a, row0 + r, chunk * CHUNK + k));
            }
#pragma unroll
            for (int i = t; i < CHUNK * BN / GROUP; i += THREADS) {
                int k = i / (BN / GROUP), c = i % (BN / GROUP) * GROUP, row = chunk * CHUNK + k;
                bool good = row < a.K && column0 + c < a.N;
                copy16(&ws[stage][k][c], good ? a.weight + (int64)row * a.N + column0 + c : nullptr);
            }
        }
        copies_sent();
    };
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) fetch(begin + i);
    for (int chunk = begin; chunk < end; chunk++) {
        copies_arrived<STAGES - 2>();
        __syncthreads();
        fetch(chunk + STAGES - 1);
        int stage = (chunk - begin) % STAGES;
#pragma unroll
        for (int step = 0; step < CHUNK; step += 8 * SUMS) {
            int k = step + 8 * half;
            Split x[MT][4], w[NT][2];
#pragma unroll
            for (int m = 0; m < MT; m++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    float v = xs[stage][wr + m * 16 + lg + i % 2 * 8][k + lt + i / 2 * 4];
                    if (NORM) squares[m][i % 2] += v * v;
                    x[m][i] = split(v);
                }
#pragma unroll
            for (int c = 0; c < NT; c++)
#pragma unroll
                for (int i = 0; i < 2; i++) w[c][i] = split(load(&ws[stage][k + lt + i * 4][wc + c * 8 + lg]));
#pragma unroll
            for (int part = 0; part < 3; part++)
#pragma unroll
                for (int m = 0; m < MT; m++)
#pragma unroll
                    for (int c = 0; c < NT; c++) multiply(part, sums[part][m][c], x[m], w[c]);
        }
    }
    float acc[MT][NT][4];
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int c = 0; c < NT; c++)
#pragma unroll
            for (int i = 0; i < 4; i++) acc[m][c][i] = sums[0][m][c][i] + sums[1][m][c][i] + sums[2][m][c][i];
    if (SUMS == 2) {
        float(*other)[6] = (float(*)[6])ws;  // the chunks have been used
        __syncthreads();
        float* mine = other[t % (THREADS / 2)];
        if (half) {
#pragma unroll
            for (int i = 0; i < 4; i++) mine[i] = acc[0][0][i];
            mine[4] = squares[0][0], mine[5] = squares[0][1];
        }
        __syncthreads();
        if (!half) {
#pragma unroll
            for (int i = 0; i < 4; i++) acc[0][0][i] += mine[i];
            squares[0][0] += mine[4], squares[0][1] += mine[5];
        }
    }
    bool whole = half == 0;  // has the whole sum
    if (NORM) {
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float square = squares[m][i];
                square += __shfl_xor_sync(~0u, square, 1);
                square += __shfl_xor_sync(~0u, square, 2);
                float scale = rsqrtf(square / a.K + RMS_EPS);
#pragma unroll
                for (int c = 0; c < NT; c++) acc[m][c][2 * i] *= scale, acc[m][c][2 * i + 1] *= scale;
            }
    }
    if (!whole) return;
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int c = 0; c < NT; c++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                int row = row0 + wr + m * 16 + lg + i * 8, column = column0 + wc + c * 8 + lt * 2;
                if (row >= a.rows || column >= a.N) continue;
                float2 v = make_float2(acc[m][c][2 * i], acc[m][c][2 * i + 1]);
                if (OUTPUT == QKV) {
                    const Stream& s = a.streams[row / ROWS];
                    int token = row % ROWS - (SLOTS - (int)s.pending);
                    float2 angle = a.angles[(int64)row * HALF + column % HEAD_DIM / 2];
                    float* query = a.out + (int64)row * HIDDEN;
                    if (token >= 0) store_pair(s, a.layer, column, (int)s.length + token, angle, v.x, v.y, query);
                    continue;
                }
                if (OUTPUT == SWIGLU) {  // gate and up columns alternate
                    a.out[(int64)row * (a.N / 2) + column / 2] = v.x / (1.f + expf(-v.x)) * v.y;
                    continue;
                }
                float2* out = (float2*)(a.out + (int64)row * a.N + column);
                if (OUTPUT == PARTIAL) out = (float2*)(a.out + ((int64)blockIdx.z * a.rows + row) * a.N + column);
                if (OUTPUT == RESIDUAL) v.x += out->x, v.y += out->y;
                if (OUTPUT == TOKENS_OUT) {
                    int n = row / TOKENS, token = row % TOKENS;
                    v.x += a.bias[token * a.N + column], v.y += a.bias[token * a.N + column + 1];
                    out = (float2*)(a.out + ((int64)n * ROWS + SLOTS + token) * a.N + column);
                }
                *out = v;
            }
}

#define LINEAR(NAME, INPUT, OUTPUT, NORM)                                   \
    extern "C" __global__ void __launch_bounds__(512) NAME##_1(Linear a) {  \
        linear<INPUT, OUTPUT, NORM, 1>(a, gridDim.z);                       \
    }                                                                       \
    extern "C" __global__ void __launch_bounds__(256) NAME##_2(Linear a) {  \
        linear<INPUT, OUTPUT, NORM, 2>(a, gridDim.z);                       \
    }                                                                       \
    extern "C" __global__ void __launch_bounds__(256) NAME##_4(Linear a) {  \
        linear<INPUT, OUTPUT, NORM, 4>(a, gridDim.z);                       \
    }
LINEAR(patches, PATCHES, PARTIAL, false)
LINEAR(neighbours, NEIGHBOURS, PARTIAL, false)
LINEAR(tokens_out, ROWS_OF_X, TOKENS_OUT, false)
LINEAR(qkv, ROWS_OF_X, QKV, true)
LINEAR(residual, ROWS_OF_X, RESIDUAL, false)
LINEAR(swiglu, ROWS_OF_X, SWIGLU, true)

// ---------------------------------------------------------------------------------------------------------------
// Vision, between its products.

// One warp a patch: add the split sums and the bias, then LayerNorm over channels.
extern "C" __global__ void layer_norm(const float* __restrict__ partial, int splits, const float* __restrict__ bias,
                                      const float* __restrict__ weight, const float* __restrict__ shift,
                                      float* __restrict__ out, int rows) {
    int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;
    const int PER_LANE = (VDIM + 31) / 32;
    float v[PER_LANE], sum = 0.f;
#pragma unroll
    for (int i = 0; i < PER_LANE; i++) {
        int c = lane + 32 * i;
        v[i] = 0.f;
        if (c < VDIM) {
#pragma unroll 4
            for (int z = 0; z < splits; z++) v[i] += partial[((int64)z * rows + row) * VDIM + c];
            v[i] += bias[c];
        }
        sum += v[i];
    }
    for (int o = 16; o; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o);
    float mean = sum / VDIM, square = 0.f;
#pragma unroll
    for (int i = 0; i < PER_LANE; i++) {
        float d = lane + 32 * i < VDIM ? v[i] - mean : 0.f;
        square += d * d;
    }
    for (int o = 16; o; o >>= 1) square += __shfl_xor_sync(~0u, square, o);
    float scale = rsqrtf(square / VDIM + LN_EPS);
#pragma unroll
    for (int i = 0; i < PER_LANE; i++) {
        int c = lane + 32 * i;
        if (c < VDIM) out[(int64)row * VDIM + c] = (v[i] - mean) * scale * weight[c] + shift[c];
    }
}

// Add what earlier frames left for this one, ReLU, and keep what this one leaves for the next two.
extern "C" __global__ void mix_frames(const float* __restrict__ partial, int splits, const float* __restrict__ bias,
                                      const Stream* __restrict__ streams, float* __restrict__ out, int rows) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= rows * VDIM) return;
    int row = i / VDIM, c = i % VDIM, n = row / TOKENS, token = row % TOKENS;
    float now = 0.f, next = 0.f, second = 0.f;
#pragma unroll 4
    for (int z = 0; z < splits; z++) {
        const float* p = partial + ((int64)z * rows + row) * (3 * VDIM) + c;
        now += p[0];
        next += p[VDIM];
        second += p[2 * VDIM];
    }
    stored* first = (stored*)streams[n].memory + token * VDIM + c;
    stored* later = first + TOKENS * VDIM;
    out[i] = fmaxf(now + load(first) + bias[c], 0.f);
    *first = pack(next + load(later));
    *later = pack(second);
}

// ---------------------------------------------------------------------------------------------------------------
// Attention of a prefill: all queries of one head, 16 to a warp, over a share of the keys, softmax kept running.

#define BK 32  // keys at a time
#define ROW_WARPS ((ROWS + 15) / 16)

extern "C" __global__ void __launch_bounds__(32 * ROW_WARPS, 1) attend_rows(
    const Stream* __restrict__ streams, const float* __restrict__ queries, int layer, float* __restrict__ part_out,
    float2* __restrict__ part_sum) {
    // Rows padded so that a warp's reads meet in no bank.
    const int KP = HEAD_DIM + 16 / sizeof(stored), GROUP = 16 / sizeof(stored), PER_KEY = HEAD_DIM / GROUP;
    const int THREADS = 32 * ROW_WARPS, DT = HEAD_DIM / 8, KT = BK / 8, STAGES = 3;
    __shared__ __align__(16) stored ks[STAGES][BK][KP], vs[STAGES][BK][KP];
    int share = blockIdx.x, shares = gridDim.x, head = blockIdx.y, n = blockIdx.z;
    int t = threadIdx.x, lane = t % 32, warp = t / 32, lg = lane / 4, lt = lane % 4;
    const Stream& s = streams[n];
    int skipped = SLOTS - (int)s.pending, length = (int)s.length;
    int seen = length + ROWS - skipped;  // by the last row, which sees the most
    int tiles = (seen + BK - 1) / BK;
    int begin = tiles * share / shares, end = tiles * (share + 1) / shares;
    int64 base = (((int64)layer * HEADS + head) * 2 * s.capacity + s.start) * HEAD_DIM;
    const stored* keys = (const stored*)s.keys + base;
    const stored* values = (const stored*)s.values + base;

    auto fetch = [&](int tile) {
        if (tile < end) {
#pragma unroll
            for (int i = t; i < 2 * BK * PER_KEY; i += THREADS) {
                int key = i / PER_KEY % BK, c = i % PER_KEY * GROUP, stage = (tile - begin) % STAGES;
                bool good = tile * BK + key < seen, is_value = i >= BK * PER_KEY;
                int64 at = (int64)(tile * BK + key) * HEAD_DIM + c;
                copy16(is_value ? &vs[stage][key][c] : &ks[stage][key][c],
                       good ? (is_value ? values : keys) + at : nullptr);
            }
        }
        copies_sent();
    };
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) fetch(begin + i);

    // The warp's 16 queries stay in registers: rows lg and lg + 8 of them are this thread's.
    Split q[DT][4];
#pragma unroll
    for (int d = 0; d < DT; d++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int row = warp * 16 + lg + i % 2 * 8;
            bool good = row < ROWS && row >= skipped;
            q[d][i] = split(good ? queries[((int64)n * ROWS + row) * HIDDEN + head * HEAD_DIM + d * 8 + lt + i / 2 * 4]
                                 : 0.f);
        }
    float top[2] = {NEG_INF, NEG_INF}, sum[2] = {}, acc[DT][4] = {};

    for (int tile = begin; tile < end; tile++) {
        copies_arrived<STAGES - 2>();
        __syncthreads();
        fetch(tile + STAGES - 1);
        int stage = (tile - begin) % STAGES;
        float score[KT][4] = {};
#pragma unroll
        for (int d = 0; d < DT; d++) {
            Split k[KT][2];
#pragma unroll
            for (int c = 0; c < KT; c++)
#pragma unroll
                for (int i = 0; i < 2; i++) k[c][i] = split(load(&ks[stage][c * 8 + lg][d * 8 + lt + i * 4]));
#pragma unroll
            for (int part = 0; part < 3; part++)
#pragma unroll
                for (int c = 0; c < KT; c++) multiply(part, score[c], q[d], k[c]);
        }
        float keep[2];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            int limit = length + warp * 16 + lg + r * 8 - skipped;  // the newest key this row sees: itself
            float m = top[r];
#pragma unroll
            for (int c = 0; c < KT; c++)
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    if (tile * BK + c * 8 + lt * 2 + i > limit) score[c][2 * r + i] = NEG_INF;
                    m = fmaxf(m, score[c][2 * r + i]);
                }
            m = fmaxf(m, __shfl_xor_sync(~0u, m, 1));
            m = fmaxf(m, __shfl_xor_sync(~0u, m, 2));
            keep[r] = m == NEG_INF ? 1.f : exp2f(top[r] - m);
            float add = 0.f;
#pragma unroll
            for (int c = 0; c < KT; c++)
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    float p = m == NEG_INF ? 0.f : exp2f(score[c][2 * r + i] - m);
                    score[c][2 * r + i] = p;
                    add += p;
                }
            top[r] = m;
            sum[r] = sum[r] * keep[r] + add;
        }
#pragma unroll
        for (int d = 0; d < DT; d++)
#pragma unroll
            for (int i = 0; i < 4; i++) acc[d][i] *= keep[i / 2];
        // A thread's scores belong to keys 2 lt and 2 lt + 1 of eight. The order of keys in a sum is free, so
        // they serve as columns lt and lt + 4 of the next product, with the values taken in the same order.
#pragma unroll
        for (int c = 0; c < KT; c++) {
            Split p[4] = {split(score[c][0]), split(score[c][2]), split(score[c][1]), split(score[c][3])}, v[DT][2];
#pragma unroll
            for (int d = 0; d < DT; d++)
#pragma unroll
                for (int i = 0; i < 2; i++) v[d][i] = split(load(&vs[stage][c * 8 + lt * 2 + i][d * 8 + lg]));
#pragma unroll
            for (int part = 0; part < 3; part++)
#pragma unroll
                for (int d = 0; d < DT; d++) multiply(part, acc[d], p, v[d]);
        }
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        sum[r] += __shfl_xor_sync(~0u, sum[r], 1);
        sum[r] += __shfl_xor_sync(~0u, sum[r], 2);
        int row = warp * 16 + lg + r * 8;
        if (row >= ROWS) continue;
        int64 at = (((int64)n * shares + share) * HEADS + head) * ROWS + row;
        if (lt == 0) part_sum[at] = make_float2(top[r], sum[r]);
#pragma unroll
        for (int d = 0; d < DT; d++)
            *(float2*)&part_out[at * HEAD_DIM + d * 8 + lt * 2] = make_float2(acc[d][2 * r], acc[d][2 * r + 1]);
    }
}

// ---------------------------------------------------------------------------------------------------------------
__device__ __forceinline__ float warp_max(float v) {
    int i = __float_as_int(v);
    i ^= (i >> 31) & 0x7fffffff;  // integers in the order of the floats
    i = __reduce_max_sync(~0u, i);
    return __int_as_float(i ^ ((i >> 31) & 0x7fffffff));
}

// ---------------------------------------------------------------------------------------------------------------
// Small products, for the rows of a decode step (R = SLOTS) or the last row alone (R = 1): all rows of one stream by
// 16 columns, the sum split among 16 groups of threads so that a weight tile is asked for all at once, before
// anything is waited for.

#define COLUMNS 16
#define GROUPS 16

struct Small {
    const float* x;          // (n, R, K)
    const stored* weight;    // (K, N)
    float* out;              // (n, R, N), half of that for SWIGLU
    const float* residual;   // (n, residual_rows, N), of which R rows from residual_row0 are added
    const float2* angles;    // (n, ROWS, HALF)
    const Stream* streams;
    const Result* results;
    int N, residual_row0, residual_rows, layer, step;
};

enum SmallOutput { S_QKV, S_RESIDUAL, S_SWIGLU, S_HEADS };

template <int OUTPUT, int K, bool NORM, int R>
__device__ void small(const Small& a) {
    const int SHARE = (K + GROUPS - 1) / GROUPS;
    __shared__ __align__(16) float xs[R][K];
    __shared__ float sums[GROUPS / 2][R][COLUMNS];
    __shared__ float scale[R];
    __shared__ float tile[R][COLUMNS];
    int n = blockIdx.y, t = threadIdx.x, column = t % COLUMNS, group = t / COLUMNS;

    int c = blockIdx.x * COLUMNS + column, k0 = group * SHARE;
    float w[SHARE];
#pragma unroll
    for (int i = 0; i < SHARE; i++)
        w[i] = (K % GROUPS == 0 || k0 + i < K) && c < a.N ? load(a.weight + (k0 + i) * a.N + c) : 0.f;

    for (int i = t; i < R * K / 4; i += 256)
        *(float4*)&xs[0][i * 4] = *(const float4*)(a.x + (int64)n * R * K + i * 4);
    if (a.step >= 0 && a.results[n].done) return;
    __syncthreads();
    if (NORM) {
        for (int row = t / 32; row < R; row += 8) {
            float square = 0.f;
            for (int k = t % 32; k < K; k += 32) square += xs[row][k] * xs[row][k];
            for (int o = 16; o; o >>= 1) square += __shfl_xor_sync(~0u, square, o);
            if (t % 32 == 0) scale[row] = rsqrtf(square / K + RMS_EPS);
        }
    }
    float acc[R] = {};
    if (SHARE % 4 == 0 && K % GROUPS == 0) {
#pragma unroll
        for (int i = 0; i < SHARE; i += 4) {
#pragma unroll
            for (int row = 0; row < R; row++) {
                float4 x = *(const float4*)&xs[row][k0 + i];
                acc[row] += x.x * w[i];
                acc[row] += x.y * w[(i + 1) % SHARE];
                acc[row] += x.z * w[(i + 2) % SHARE];
                acc[row] += x.w * w[(i + 3) % SHARE];
            }
        }
    } else {
#pragma unroll
        for (int i = 0; i < SHARE; i++)
            if (k0 + i < K)
#pragma unroll
                for (int row = 0; row < R; row++) acc[row] += xs[row][k0 + i] * w[i];
    }
#pragma unroll
    for (int row = 0; row < R; row++) {  // two groups share a warp
        acc[row] += __shfl_xor_sync(~0u, acc[row], 16);
        if (t % 32 < 16) sums[group / 2][row][column] = acc[row];
    }
    __syncthreads();
    if (t < R * COLUMNS) {
        int row = t / COLUMNS, col = t % COLUMNS;
        float v = 0.f;
#pragma unroll
        for (int g = 0; g < GROUPS / 2; g++) v += sums[g][row][col];
        tile[row][col] = NORM ? v * scale[row] : v;
    }
    __syncthreads();
    if (t >= R * COLUMNS) return;

    int row = t / COLUMNS, col = t % COLUMNS;
    int at = blockIdx.x * COLUMNS + col;
    if (at >= a.N) return;
    if (OUTPUT == S_QKV) {
        if (col % 2) return;
        const Stream& s = a.streams[n];
        // Every decode step of a frame sits on the last SLOTS positions of its prefill.
        float2 angle = a.angles[((int64)n * ROWS + ROWS - SLOTS + row) * HALF + at % HEAD_DIM / 2];
        store_pair(s, a.layer, at, tokens_before(s, a.results[n].blocks - 1) + row, angle, tile[row][col],
                   tile[row][col + 1], a.out + ((int64)n * SLOTS + row) * HIDDEN);
        return;
    }
    int64 out = (int64)n * R + row;
    if (OUTPUT == S_SWIGLU) {
        if (col % 2 == 0)
            a.out[out * (a.N / 2) + at / 2] = tile[row][col] / (1.f + expf(-tile[row][col])) * tile[row][col + 1];
    } else if (OUTPUT == S_HEADS) {
        a.out[out * a.N + at] = tile[row][col];
    } else {
        a.out[out * a.N + at] =
            a.residual[((int64)n * a.residual_rows + a.residual_row0 + row) * a.N + at] + tile[row][col];
    }
}

#define SMALL(NAME, OUTPUT, K, NORM, R) \
    extern "C" __global__ void __launch_bounds__(256) NAME(Small a) { small<OUTPUT, K, NORM, R>(a); }
SMALL(block_qkv, S_QKV, HIDDEN, true, SLOTS)
SMALL(block_out, S_RESIDUAL, HIDDEN, false, SLOTS)
SMALL(block_swiglu, S_SWIGLU, HIDDEN, true, SLOTS)
SMALL(block_down, S_RESIDUAL, INNER, false, SLOTS)
SMALL(last_out, S_RESIDUAL, HIDDEN, false, 1)
SMALL(last_swiglu, S_SWIGLU, HIDDEN, true, 1)
SMALL(last_down, S_RESIDUAL, INNER, false, 1)
SMALL(last_heads, S_HEADS, HIDDEN, true, 1)

// ---------------------------------------------------------------------------------------------------------------
// Attention of a decode step: R queries of one head (rows of a block, or the last row alone) over a share of the
// keys. A warp takes 32 keys at a time: one lane a key for the scores, one lane a channel for the values.

#define WARPS 10

struct Few {
    const Stream* streams;
    const Result* results;
    const float* queries;  // (n, query_rows, HIDDEN), of which R rows from row0
    float* part_out;       // (n, splits, HEADS, R, HEAD_DIM)
    float2* part_sum;      // (n, splits, HEADS, R): maximum and sum
    int query_rows, row0, layer, step;
};

template <int R>
__device__ void attend_few(const Few& a) {
    const int PAD = (R + 3) / 4 * 4, LANES = 32 / HEAD_DIM;
    __shared__ __align__(16) float qs[R][HEAD_DIM];
    __shared__ __align__(16) float ps[WARPS][32][PAD];
    __shared__ float tops[WARPS][R], totals[WARPS][R];
    __shared__ float joined[WARPS][R][HEAD_DIM];
    int split = blockIdx.x, splits = gridDim.x, head = blockIdx.y, n = blockIdx.z;
    int t = threadIdx.x, warp = t / 32, lane = t % 32, d = lane % HEAD_DIM, sub = lane / HEAD_DIM;
    const Stream& s = a.streams[n];
    // Tokens alive once this pass is stored; the last query sees all of them, the one before it one less, ...
    int length = tokens_before(s, a.step < 0 ? 0 : a.results[n].blocks);
    if (a.step >= 0 && a.results[n].done) return;
    int groups = (length + 31) / 32;
    int first = groups * split / splits, end = groups * (split + 1) / splits;
    int64 base = (((int64)a.layer * HEADS + head) * 2 * s.capacity + s.start) * HEAD_DIM;
    const stored* keys = (const stored*)s.keys + base;
    const stored* values = (const stored*)s.values + base;
    float v[HEAD_DIM], k[HEAD_DIM];  // a lane's key; values: channel d of keys sub, sub + LANES, ...
    auto fetch = [&](int group) {
        int key = group * 32 + lane;
#pragma unroll
        for (int i = 0; i < HEAD_DIM; i += 4)
            *(float4*)&k[i] = key < length ? load4(keys + (int64)key * HEAD_DIM + i) : make_float4(0, 0, 0, 0);
#pragma unroll
        for (int i = 0; i < HEAD_DIM; i++) {
            int other = group * 32 + sub + i * LANES;
            v[i] = other < length ? load(values + (int64)other * HEAD_DIM + d) : 0.f;
        }
    };
    for (int i = t; i < R * HEAD_DIM; i += 32 * WARPS)
        qs[i / HEAD_DIM][i % HEAD_DIM] = a.queries[((int64)n * a.query_rows + a.row0 + i / HEAD_DIM) * HIDDEN +
                                                   head * HEAD_DIM + i % HEAD_DIM];
    if (first + warp < end) fetch(first + warp);
    float top[R], sum[R], acc[R];
#pragma unroll
    for (int r = 0; r < R; r++) top[r] = NEG_INF, sum[r] = acc[r] = 0.f;
    __syncthreads();

    for (int group = first + warp; group < end; group += WARPS) {
        int key = group * 32 + lane;
        float p[PAD];
#pragma unroll
        for (int r = 0; r < PAD; r++) p[r] = 0.f;
#pragma unroll
        for (int r = 0; r < R; r++) {
#pragma unroll
            for (int i = 0; i < HEAD_DIM; i += 4) {
                float4 q = *(const float4*)&qs[r][i];
                p[r] += q.x * k[i];
                p[r] += q.y * k[i + 1];
                p[r] += q.z * k[i + 2];
                p[r] += q.w * k[i + 3];
            }
            if (key >= length - (R - 1 - r)) p[r] = NEG_INF;
        }
#pragma unroll
        for (int r = 0; r < R; r++) {
            float m = fmaxf(top[r], warp_max(p[r]));
            float keep = m == NEG_INF ? 1.f : exp2f(top[r] - m);
            p[r] = m == NEG_INF ? 0.f : exp2f(p[r] - m);
            sum[r] = sum[r] * keep + p[r];
            acc[r] *= keep;
            top[r] = m;
        }
        __syncwarp();
#pragma unroll
        for (int r = 0; r < PAD; r += 4) *(float4*)&ps[warp][lane][r] = *(const float4*)&p[r];
        __syncwarp();
#pragma unroll
        for (int i = 0; i < HEAD_DIM; i++) {
            float w[PAD];
#pragma unroll
            for (int r = 0; r < PAD; r += 4) *(float4*)&w[r] = *(const float4*)&ps[warp][sub + i * LANES][r];
#pragma unroll
            for (int r = 0; r < R; r++) acc[r] += w[r] * v[i];
        }
        if (group + WARPS < end) fetch(group + WARPS);
    }
#pragma unroll
    for (int r = 0; r < R; r++) {
        for (int o = 16; o; o >>= 1) sum[r] += __shfl_xor_sync(~0u, sum[r], o);
        if (HEAD_DIM == 16) acc[r] += __shfl_xor_sync(~0u, acc[r], 16);
        if (lane == 0) tops[warp][r] = top[r], totals[warp][r] = sum[r];
        joined[warp][r][d] = acc[r];
    }
    __syncthreads();
    for (int i = t; i < R * HEAD_DIM; i += 32 * WARPS) {
        int r = i / HEAD_DIM, e = i % HEAD_DIM;
        float m = NEG_INF, value = 0.f, total = 0.f;
#pragma unroll
        for (int w = 0; w < WARPS; w++) m = fmaxf(m, tops[w][r]);
#pragma unroll
        for (int w = 0; w < WARPS; w++) {
            float share = tops[w][r] == NEG_INF ? 0.f : exp2f(tops[w][r] - m);
            value += joined[w][r][e] * share;
            total += totals[w][r] * share;
        }
        int64 at = (((int64)n * splits + split) * HEADS + head) * R + r;
        a.part_out[at * HEAD_DIM + e] = value;
        if (e == 0) a.part_sum[at] = make_float2(m, total);
    }
}

extern "C" __global__ void __launch_bounds__(32 * WARPS) attend_block(Few a) { attend_few<SLOTS>(a); }
extern "C" __global__ void __launch_bounds__(32 * WARPS) attend_last(Few a) { attend_few<1>(a); }

// Join the shares: a warp to each (row, head), first a lane to each share, then a lane to each channel.
#define MAX_SPLITS 32

template <int R>
__device__ void join_few(const Few& a, int splits, float* out) {
    int n = blockIdx.y, lane = threadIdx.x % 32, which = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    int head = which % HEADS, row = which / HEADS, d = lane % HEAD_DIM;
    if (row >= R || (a.step >= 0 && a.results[n].done)) return;
    int64 at = ((int64)n * splits * HEADS + head) * R + row;
    float2 s = lane < splits ? a.part_sum[at + lane * HEADS * R] : make_float2(NEG_INF, 0.f);
    float part[MAX_SPLITS];
#pragma unroll
    for (int z = 0; z < MAX_SPLITS; z++)
        part[z] = z < splits ? a.part_out[(at + z * HEADS * R) * HEAD_DIM + d] : 0.f;
    float top = warp_max(s.x), mine = s.x == NEG_INF ? 0.f : exp2f(s.x - top), total = s.y * mine, value = 0.f;
    for (int o = 16; o; o >>= 1) total += __shfl_xor_sync(~0u, total, o);
    mine = total > 0.f ? mine / total : 0.f;
#pragma unroll
    for (int z = 0; z < MAX_SPLITS; z++) value += part[z] * __shfl_sync(~0u, mine, z);
    if (lane < HEAD_DIM) out[((int64)n * R + row) * HIDDEN + head * HEAD_DIM + d] = value;
}

extern "C" __global__ void __launch_bounds__(128) join_rows(Few a, int splits, float* out) {
    join_few<ROWS>(a, splits, out);
}
extern "C" __global__ void __launch_bounds__(128) join_block(Few a, int splits, float* out) {
    join_few<SLOTS>(a, splits, out);
}
extern "C" __global__ void __launch_bounds__(128) join_last(Few a, int splits, float* out) {
    join_few<1>(a, splits, out);
}

// ---------------------------------------------------------------------------------------------------------------
// Choosing: one block a stream. One warp chooses, each lane minding every 32nd id; all threads fetch the
// embeddings of the next block.

#define CHOOSERS (32 * (SLOTS > 8 ? SLOTS : 8))
#define PER_LANE ((VOCAB + 31) / 32)

extern "C" __global__ void __launch_bounds__(CHOOSERS) choose(
    const Stream* __restrict__ streams, Result* __restrict__ results, unsigned char* __restrict__ taken,
    const float* __restrict__ heads, const stored* __restrict__ embedding, float* __restrict__ block) {
    __shared__ int chosen[SLOTS];
    __shared__ float chosen_score[SLOTS], confidence[SLOTS];
    __shared__ signed char at_slot[32 * PER_LANE];
    __shared__ int over;
    int n = blockIdx.x, t = threadIdx.x, lane = t % 32, warp = t / 32;
    Result& r = results[n];
    const float* scores = heads + (int64)n * SLOTS * (VOCAB + 1);
    int begin = r.slots, budget = (int)streams[n].budget, done = r.done;
    int count = min(SLOTS, budget - begin);
    float threshold = __int_as_float((int)streams[n].threshold);
    float loss = lane < SLOTS ? scores[SLOTS * VOCAB + lane] : 0.f;
    float own[PER_LANE];  // of the slot that is this warp's to rate
#pragma unroll
    for (int j = 0; j < PER_LANE; j++) {
        int id = lane + 32 * j;
        own[j] = id < VOCAB && warp < SLOTS ? scores[warp * VOCAB + id] : NEG_INF;
    }
    if (warp == 0) {
        float score[SLOTS][PER_LANE];
#pragma unroll
        for (int k = 0; k < SLOTS; k++)
#pragma unroll
            for (int j = 0; j < PER_LANE; j++) {
                int id = t + 32 * j;
                score[k][j] = id < VOCAB ? scores[k * VOCAB + id] : NEG_INF;
            }
        // The slot at which an id was taken: -1 before this block, SLOTS if it is free.
        int at[PER_LANE];
#pragma unroll
        for (int j = 0; j < PER_LANE; j++) {
            int id = t + 32 * j;
            at[j] = id < VOCAB && !taken[n * VOCAB + id] ? SLOTS : -1;
        }
#pragma unroll
        for (int k = 0; k < SLOTS; k++) {
            if (k >= count || done) break;
            float best = NEG_INF;
            int id = VOCAB;
#pragma unroll
            for (int j = 0; j < PER_LANE; j++)
                if (at[j] == SLOTS && (score[k][j] > best || !(score[k][j] == score[k][j])))
                    best = score[k][j], id = t + 32 * j;
            float top = warp_max(best);
            id = __reduce_min_sync(~0u, best == top || best != best ? id : VOCAB);  // the lowest id among equals
#pragma unroll
            for (int j = 0; j < PER_LANE; j++)
                if (t + 32 * j == id) at[j] = k;
            if (t == k) chosen[k] = id, chosen_score[k] = top;
        }
#pragma unroll
        for (int j = 0; j < PER_LANE; j++) {
            at_slot[t + 32 * j] = at[j];
            if (at[j] >= 0 && at[j] < SLOTS && !done) taken[n * VOCAB + t + 32 * j] = 1;
        }
    }
    __syncthreads();
    if (done) return;
    // The confidence of a choice: its share among the ids that were free when it was made.
    if (warp < count) {
        float odds = 0.f;
#pragma unroll
        for (int j = 0; j < PER_LANE; j++)
            if (at_slot[lane + 32 * j] >= warp) odds += exp2f((own[j] - chosen_score[warp]) * LOG2E);
        for (int o = 16; o; o >>= 1) odds += __shfl_xor_sync(~0u, odds, o);
        if (lane == 0) confidence[warp] = 1.f / odds;
    }
    __syncthreads();
    if (warp == 0) {
        bool padded = false, bad = false;
        if (t < count) {
            padded = begin + t > 0 && loss <= threshold;
            bad = !(confidence[t] > 0.f) || !(fabsf(loss) < 3.0e38f) || chosen[t] >= IDS;
            r.ids[begin + t] = padded ? IDS : chosen[t];
            r.confidence[begin + t] = padded ? 0.f : confidence[t];
            r.loss[begin + t] = loss;
        }
        bool any_bad = __any_sync(~0u, bad), any_padded = __any_sync(~0u, padded);
        if (t == 0) {
            r.slots = begin + count;
            r.blocks += 1;
            r.bad = any_bad;
            r.done = over = any_padded || any_bad || begin + count >= budget;
        }
    }
    __syncthreads();
    if (over) return;
    for (int i = t; i < SLOTS * HIDDEN / 4; i += CHOOSERS) {
        int row = i / (HIDDEN / 4), c = i % (HIDDEN / 4) * 4;
        *(float4*)&block[((int64)n * SLOTS + row) * HIDDEN + c] = load4(embedding + chosen[row] * HIDDEN + c);
    }
}
