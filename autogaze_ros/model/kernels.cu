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
// Large products, for the rows of a prefill: (rows, K) x (K, N), tiles of 16 * TM rows by 64 columns.

#define CHUNK 32
enum Input { ROWS_OF_X, PATCHES, NEIGHBOURS };
enum Output { QKV, RESIDUAL, SWIGLU, BIAS, PARTIAL, TOKENS_OUT };

struct Linear {
    const float* x;        // ROWS_OF_X: (rows, K); PATCHES: pixels (n, 3, side, side); NEIGHBOURS: (n, TOKENS, VDIM)
    const stored* weight;  // (K, N)
    float* out;
    const float* bias;     // BIAS: (N); TOKENS_OUT: (TOKENS, N)
    const float2* angles;  // QKV
    const Stream* streams; // QKV
    int rows, K, N, layer;
};

template <int INPUT>
__device__ __forceinline__ float input(const Linear& a, int row, int k) {
    if (INPUT == ROWS_OF_X) return a.x[(int64)row * a.K + k];
    int n = row / TOKENS, cell = row % TOKENS, y = cell / GRID, x = cell % GRID;
    if (INPUT == PATCHES) {
        int channel = k / (PATCH * PATCH), py = k / PATCH % PATCH, px = k % PATCH;
        return a.x[(((int64)n * 3 + channel) * GRID * PATCH + y * PATCH + py) * (GRID * PATCH) + x * PATCH + px];
    }
    int tap = k / VDIM, channel = k % VDIM;
    y += tap / 3 - 1;
    x += tap % 3 - 1;
    if (y < 0 || y >= GRID || x < 0 || x >= GRID) return 0.f;
    return a.x[((int64)n * TOKENS + y * GRID + x) * VDIM + channel];
}

// Rotate and store what a query-key-value product gave for one pair of channels of one token.
__device__ __forceinline__ void store_pair(const Stream& s, int layer, int column, int64 logical, float2 a,
                                           float first, float second, float* query) {
    int part = column / HIDDEN, head = column % HIDDEN / HEAD_DIM, i = column % HEAD_DIM;
    if (part < 2) {
        float turned = first * a.x - second * a.y;
        second = second * a.x + first * a.y;
        first = turned;
    }
    if (part == 0) {
        const float scale = LOG2E * rsqrtf((float)HEAD_DIM);  // softmax in powers of two
        query[head * HEAD_DIM + i] = first * scale;
        query[head * HEAD_DIM + i + HALF] = second * scale;
        return;
    }
    stored* memory = (stored*)(part == 1 ? s.keys : s.values);
    int64 slot = (s.start + logical) % s.capacity;
    memory += (((int64)layer * HEADS + head) * 2 * s.capacity + slot) * HEAD_DIM + i;
    stored one = pack(first), two = pack(second);
    memory[0] = one;
    memory[HALF] = two;
    memory[s.capacity * HEAD_DIM] = one;
    memory[s.capacity * HEAD_DIM + HALF] = two;
}

template <int INPUT, int OUTPUT, bool NORM, int TM>
__device__ void linear(const Linear& a, int splits) {
    const int BM = 16 * TM, BN = 64;
    __shared__ __align__(16) float xs[CHUNK][BM + 4];
    __shared__ __align__(16) float ws[CHUNK][BN];
    int t = threadIdx.x, tx = t % 16, ty = t / 16;
    int row0 = blockIdx.y * BM, column0 = blockIdx.x * BN;
    int chunks = (a.K + CHUNK - 1) / CHUNK;
    int begin = chunks * blockIdx.z / splits, end = chunks * (blockIdx.z + 1) / splits;
    float acc[TM][4] = {}, squares[TM] = {};
    float xr[BM * CHUNK / 256], wr[BN * CHUNK / 256];

    auto fetch = [&](int chunk) {
#pragma unroll
        for (int i = 0; i < BM * CHUNK / 256; i++) {
            int k = chunk * CHUNK + t % CHUNK, row = row0 + t / CHUNK + i * (256 / CHUNK);
            xr[i] = row < a.rows && k < a.K ? input<INPUT>(a, row, k) : 0.f;
        }
#pragma unroll
        for (int i = 0; i < BN * CHUNK / 256; i++) {
            int k = chunk * CHUNK + t / BN + i * (256 / BN), column = column0 + t % BN;
            wr[i] = k < a.K && column < a.N ? load(a.weight + (int64)k * a.N + column) : 0.f;
        }
    };
    fetch(begin);
    for (int chunk = begin; chunk < end; chunk++) {
        __syncthreads();
#pragma unroll
        for (int i = 0; i < BM * CHUNK / 256; i++) xs[t % CHUNK][t / CHUNK + i * (256 / CHUNK)] = xr[i];
#pragma unroll
        for (int i = 0; i < BN * CHUNK / 256; i++) ws[t / BN + i * (256 / BN)][t % BN] = wr[i];
        __syncthreads();
        if (chunk + 1 < end) fetch(chunk + 1);
#pragma unroll
        for (int k = 0; k < CHUNK; k++) {
            float4 w = *(const float4*)&ws[k][tx * 4];
#pragma unroll
            for (int r = 0; r < TM; r++) {
                float x = xs[k][ty * TM + r];
                acc[r][0] += x * w.x;
                acc[r][1] += x * w.y;
                acc[r][2] += x * w.z;
                acc[r][3] += x * w.w;
                if (NORM) squares[r] += x * x;
            }
        }
    }
    if (NORM) {
#pragma unroll
        for (int r = 0; r < TM; r++) {
            float scale = rsqrtf(squares[r] / a.K + RMS_EPS);
#pragma unroll
            for (int c = 0; c < 4; c++) acc[r][c] *= scale;
        }
    }
    if (OUTPUT == QKV) {
        // A channel's partner lies up to half a head away, in another thread.
        __shared__ float tile[BM][BN + 1];
#pragma unroll
        for (int r = 0; r < TM; r++)
#pragma unroll
            for (int c = 0; c < 4; c++) tile[ty * TM + r][tx * 4 + c] = acc[r][c];
        __syncthreads();
        for (int i = t; i < BM * BN / 2; i += 256) {
            int r = i / (BN / 2), pair = i % (BN / 2);
            int c = pair / HALF * HEAD_DIM + pair % HALF, column = column0 + c, row = row0 + r;
            if (row >= a.rows || column >= a.N) continue;
            int n = row / ROWS, token = row % ROWS;
            const Stream& s = a.streams[n];
            token -= SLOTS - (int)s.pending;
            if (token < 0) continue;
            store_pair(s, a.layer, column, s.length + token, a.angles[(int64)row * HALF + pair % HALF],
                       tile[r][c], tile[r][c + HALF], a.out + (int64)row * HIDDEN);
        }
        return;
    }
#pragma unroll
    for (int r = 0; r < TM; r++) {
        int row = row0 + ty * TM + r;
        if (row >= a.rows) continue;
        if (OUTPUT == SWIGLU) {  // gate and up columns alternate
            for (int c = 0; c < 4; c += 2) {
                int column = column0 + tx * 4 + c;
                if (column < a.N)
                    a.out[(int64)row * (a.N / 2) + column / 2] = acc[r][c] / (1.f + expf(-acc[r][c])) * acc[r][c + 1];
            }
            continue;
        }
#pragma unroll
        for (int c = 0; c < 4; c++) {
            int column = column0 + tx * 4 + c;
            if (column >= a.N) continue;
            if (OUTPUT == RESIDUAL) a.out[(int64)row * a.N + column] += acc[r][c];
            if (OUTPUT == BIAS) a.out[(int64)row * a.N + column] = acc[r][c] + a.bias[column];
            if (OUTPUT == PARTIAL) a.out[((int64)blockIdx.z * a.rows + row) * a.N + column] = acc[r][c];
            if (OUTPUT == TOKENS_OUT) {
                int n = row / TOKENS, token = row % TOKENS;
                a.out[((int64)n * ROWS + SLOTS + token) * a.N + column] = acc[r][c] + a.bias[token * a.N + column];
            }
        }
    }
}

#define LINEAR(NAME, INPUT, OUTPUT, NORM)                                                               \
    extern "C" __global__ void __launch_bounds__(256) NAME##_2(Linear a) {                              \
        linear<INPUT, OUTPUT, NORM, 2>(a, gridDim.z);                                                   \
    }                                                                                                   \
    extern "C" __global__ void __launch_bounds__(256) NAME##_4(Linear a) {                              \
        linear<INPUT, OUTPUT, NORM, 4>(a, gridDim.z);                                                   \
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
// Attention of a prefill: 64 queries of one head over a share of the keys, softmax kept running.

#define BQ 64
#define BK 64

extern "C" __global__ void __launch_bounds__(128) attend_rows(
    const Stream* __restrict__ streams, const float* __restrict__ queries, int layer, float* __restrict__ part_out,
    float2* __restrict__ part_sum) {
    __shared__ __align__(16) float qs[HEAD_DIM][BQ];
    __shared__ __align__(16) float ks[HEAD_DIM][BK + 1];
    __shared__ __align__(16) float vs[BK][HEAD_DIM];
    __shared__ __align__(16) float ps[BK][BQ + 4];
    const int TILES = (ROWS + BQ - 1) / BQ, WIDE = HEAD_DIM / 8;
    int head = blockIdx.x / TILES, tile = blockIdx.x % TILES, split = blockIdx.y, splits = gridDim.y, n = blockIdx.z;
    int t = threadIdx.x, tr = t / 8, tc = t % 8, row0 = tile * BQ;
    const Stream& s = streams[n];
    int skipped = SLOTS - (int)s.pending;
    int length = (int)s.length;
    // The last row of this tile sees the most.
    int seen = length + min(row0 + BQ, ROWS) - skipped;
    int tiles = (seen + BK - 1) / BK;
    int begin = (int)((int64)tiles * split / splits), end = (int)((int64)tiles * (split + 1) / splits);

    for (int i = t; i < BQ * HEAD_DIM; i += 128) {
        int r = i / HEAD_DIM, d = i % HEAD_DIM, row = row0 + r;
        qs[d][r] = row < ROWS && row >= skipped ? queries[((int64)n * ROWS + row) * HIDDEN + head * HEAD_DIM + d] : 0.f;
    }
    int64 base = (((int64)layer * HEADS + head) * 2 * s.capacity + s.start) * HEAD_DIM;
    const stored* keys = (const stored*)s.keys + base;
    const stored* values = (const stored*)s.values + base;
    float top[4], sum[4] = {}, acc[4][WIDE] = {};
    for (int r = 0; r < 4; r++) top[r] = NEG_INF;

    float kr[BK * HEAD_DIM / 128], vr[BK * HEAD_DIM / 128];
    auto fetch = [&](int tile_index) {
#pragma unroll
        for (int i = 0; i < BK * HEAD_DIM / 128; i++) {
            int e = t + i * 128, key = tile_index * BK + e / HEAD_DIM;
            bool good = key < seen;
            kr[i] = good ? load(keys + (int64)tile_index * BK * HEAD_DIM + e) : 0.f;
            vr[i] = good ? load(values + (int64)tile_index * BK * HEAD_DIM + e) : 0.f;
        }
    };
    if (begin < end) fetch(begin);
    for (int it = begin; it < end; it++) {
        __syncthreads();
#pragma unroll
        for (int i = 0; i < BK * HEAD_DIM / 128; i++) {
            int e = t + i * 128;
            ks[e % HEAD_DIM][e / HEAD_DIM] = kr[i];
            vs[e / HEAD_DIM][e % HEAD_DIM] = vr[i];
        }
        __syncthreads();
        if (it + 1 < end) fetch(it + 1);

        float sc[4][8] = {};
#pragma unroll 8
        for (int d = 0; d < HEAD_DIM; d++) {
            float4 q = *(const float4*)&qs[d][tr * 4];
#pragma unroll
            for (int c = 0; c < 8; c++) {
                float k = ks[d][tc + 8 * c];
                sc[0][c] += q.x * k;
                sc[1][c] += q.y * k;
                sc[2][c] += q.z * k;
                sc[3][c] += q.w * k;
            }
        }
#pragma unroll
        for (int r = 0; r < 4; r++) {
            int limit = length + row0 + tr * 4 + r - skipped;  // the newest key this row sees: itself
            float m = top[r];
#pragma unroll
            for (int c = 0; c < 8; c++) {
                if (it * BK + tc + 8 * c > limit) sc[r][c] = NEG_INF;
                m = fmaxf(m, sc[r][c]);
            }
            for (int o = 4; o; o >>= 1) m = fmaxf(m, __shfl_xor_sync(~0u, m, o));
            float keep = m == NEG_INF ? 1.f : exp2f(top[r] - m), add = 0.f;
#pragma unroll
            for (int c = 0; c < 8; c++) {
                sc[r][c] = m == NEG_INF ? 0.f : exp2f(sc[r][c] - m);
                add += sc[r][c];
            }
            top[r] = m;
            sum[r] = sum[r] * keep + add;
#pragma unroll
            for (int d = 0; d < WIDE; d++) acc[r][d] *= keep;
        }
#pragma unroll
        for (int c = 0; c < 8; c++)
            *(float4*)&ps[tc + 8 * c][tr * 4] = make_float4(sc[0][c], sc[1][c], sc[2][c], sc[3][c]);
        __syncwarp();  // a row's eight threads sit in one warp
#pragma unroll 8
        for (int j = 0; j < BK; j++) {
            float4 p = *(const float4*)&ps[j][tr * 4];
#pragma unroll
            for (int d = 0; d < WIDE; d++) {
                float v = vs[j][tc * WIDE + d];
                acc[0][d] += p.x * v;
                acc[1][d] += p.y * v;
                acc[2][d] += p.z * v;
                acc[3][d] += p.w * v;
            }
        }
    }
#pragma unroll
    for (int r = 0; r < 4; r++) {
        float total = sum[r];
        for (int o = 4; o; o >>= 1) total += __shfl_xor_sync(~0u, total, o);
        int row = row0 + tr * 4 + r;
        if (row >= ROWS) continue;
        int64 at = (((int64)n * splits + split) * HEADS + head) * ROWS + row;
        if (tc == 0) part_sum[at] = make_float2(top[r], total);
#pragma unroll
        for (int d = 0; d < WIDE; d++) part_out[at * HEAD_DIM + tc * WIDE + d] = acc[r][d];
    }
}

// Join the shares of one (stream, head, row): the weight of each is known only once all maxima are.
__device__ __forceinline__ float join(const float* part_out, const float2* part_sum, int64 first, int64 stride,
                                      int splits, int d) {
    float top = NEG_INF;
    for (int z = 0; z < splits; z++) top = fmaxf(top, part_sum[first + z * stride].x);
    float value = 0.f, total = 0.f;
    for (int z = 0; z < splits; z++) {
        float2 s = part_sum[first + z * stride];
        float w = s.x == NEG_INF ? 0.f : exp2f(s.x - top);
        total += s.y * w;
        value += part_out[(first + z * stride) * HEAD_DIM + d] * w;
    }
    return total > 0.f ? value / total : 0.f;
}

extern "C" __global__ void join_rows(const float* __restrict__ part_out, const float2* __restrict__ part_sum,
                                     int splits, float* __restrict__ out, int total) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    int c = i % HIDDEN, row = i / HIDDEN % ROWS, n = i / HIDDEN / ROWS;
    int64 first = (((int64)n * splits) * HEADS + c / HEAD_DIM) * ROWS + row;
    out[i] = join(part_out, part_sum, first, (int64)HEADS * ROWS, splits, c % HEAD_DIM);
}

// ---------------------------------------------------------------------------------------------------------------
// Small products, for the few rows of a decode step: all rows of one stream by 16 columns, the sum over K
// split among 16 groups of threads so that all of a weight tile is on its way at once.

#define COLUMNS 16
#define GROUPS 16
#define MAX_K (INNER > HIDDEN ? INNER : HIDDEN)

struct Small {
    const float* x;          // (n, x_rows, K); row0.. are read
    const stored* weight;    // (K, N)
    float* out;              // (n, out_rows, N) or what the kernel says
    const float* residual;   // (n, x_rows of the residual, N)
    const float2* angles;    // (n, ROWS, HALF)
    const Stream* streams;
    const Result* results;
    const float* part_out;
    const float2* part_sum;
    int K, N, rows, row0, x_rows, out_row0, out_rows, residual_row0, residual_rows, layer, step, splits;
};

enum SmallOutput { S_QKV, S_OUT, S_SWIGLU, S_DOWN, S_HEADS };

template <int OUTPUT, bool NORM>
__device__ void small(const Small& a) {
    __shared__ float xs[SLOTS][MAX_K];
    __shared__ float sums[GROUPS / 2][SLOTS][COLUMNS];
    __shared__ float scale[SLOTS];
    __shared__ float tile[SLOTS][COLUMNS];
    int n = blockIdx.y, t = threadIdx.x, column = t % COLUMNS, group = t / COLUMNS;
    if (a.step >= 0 && a.results[n].done) return;

    // The columns of this block; those of a query-key-value product come in pairs half a head apart.
    int c = blockIdx.x * COLUMNS + column;
    if (OUTPUT == S_QKV) {
        int pair = blockIdx.x * (COLUMNS / 2) + column % (COLUMNS / 2);
        c = pair / HALF * HEAD_DIM + pair % HALF + (column >= COLUMNS / 2 ? HALF : 0);
    }
    const int LONGEST = (MAX_K + GROUPS - 1) / GROUPS;
    int share = (a.K + GROUPS - 1) / GROUPS, k0 = group * share;
    float w[LONGEST];  // asked for before anything is waited for
#pragma unroll
    for (int i = 0; i < LONGEST; i++)
        w[i] = i < share && k0 + i < a.K && c < a.N ? load(a.weight + (int64)(k0 + i) * a.N + c) : 0.f;

    if (OUTPUT == S_OUT) {
        for (int i = t; i < a.rows * HIDDEN; i += 256) {
            int row = i / HIDDEN, k = i % HIDDEN;
            int64 first = (((int64)n * a.splits) * HEADS + k / HEAD_DIM) * SLOTS + row;
            xs[row][k] = join(a.part_out, a.part_sum, first, (int64)HEADS * SLOTS, a.splits, k % HEAD_DIM);
        }
    } else {
        for (int i = t; i < a.rows * a.K; i += 256) {
            int row = i / a.K, k = i % a.K;
            xs[row][k] = a.x[((int64)n * a.x_rows + a.row0 + row) * a.K + k];
        }
    }
    __syncthreads();
    if (NORM) {
        for (int row = t / 32; row < a.rows; row += 8) {
            float square = 0.f;
            for (int k = t % 32; k < a.K; k += 32) square += xs[row][k] * xs[row][k];
            for (int o = 16; o; o >>= 1) square += __shfl_xor_sync(~0u, square, o);
            if (t % 32 == 0) scale[row] = rsqrtf(square / a.K + RMS_EPS);
        }
    }
    float acc[SLOTS] = {};
#pragma unroll
    for (int i = 0; i < LONGEST; i++) {
        if (i < share && k0 + i < a.K) {
#pragma unroll
            for (int row = 0; row < SLOTS; row++)
                if (row < a.rows) acc[row] += xs[row][k0 + i] * w[i];
        }
    }
#pragma unroll
    for (int row = 0; row < SLOTS; row++) {  // two groups share a warp
        acc[row] += __shfl_xor_sync(~0u, acc[row], 16);
        if (t % 32 < 16) sums[group / 2][row][column] = acc[row];
    }
    __syncthreads();
    for (int i = t; i < a.rows * COLUMNS; i += 256) {
        int row = i / COLUMNS, col = i % COLUMNS;
        float v = 0.f;
#pragma unroll
        for (int g = 0; g < GROUPS / 2; g++) v += sums[g][row][col];
        tile[row][col] = NORM ? v * scale[row] : v;
    }
    __syncthreads();

    for (int i = t; i < a.rows * COLUMNS; i += 256) {
        int row = i / COLUMNS, col = i % COLUMNS;
        if (OUTPUT == S_QKV) {
            if (col >= COLUMNS / 2) continue;
            int pair = blockIdx.x * (COLUMNS / 2) + col, p = pair / HALF * HEAD_DIM + pair % HALF;
            if (p >= a.N) continue;
            const Stream& s = a.streams[n];
            // Every decode step of a frame sits on the last SLOTS positions of its prefill.
            float2 angle = a.angles[((int64)n * ROWS + ROWS - SLOTS + row) * HALF + pair % HALF];
            store_pair(s, a.layer, p, tokens_before(s, a.results[n].blocks - 1) + row, angle, tile[row][col],
                       tile[row][col + COLUMNS / 2], a.out + ((int64)n * SLOTS + row) * HIDDEN);
            continue;
        }
        int at = blockIdx.x * COLUMNS + col;
        if (at >= a.N) continue;
        int64 out = ((int64)n * a.out_rows + a.out_row0 + row);
        if (OUTPUT == S_SWIGLU) {
            if (col % 2 == 0)
                a.out[out * (a.N / 2) + at / 2] = tile[row][col] / (1.f + expf(-tile[row][col])) * tile[row][col + 1];
        } else if (OUTPUT == S_HEADS) {
            a.out[out * a.N + at] = tile[row][col];
        } else {
            int64 from = ((int64)n * a.residual_rows + a.residual_row0 + row) * a.N + at;
            a.out[out * a.N + at] = a.residual[from] + tile[row][col];
        }
    }
}

#define SMALL(NAME, OUTPUT, NORM) \
    extern "C" __global__ void __launch_bounds__(256) NAME(Small a) { small<OUTPUT, NORM>(a); }
SMALL(small_qkv, S_QKV, true)
SMALL(small_out, S_OUT, false)
SMALL(small_swiglu, S_SWIGLU, true)
SMALL(small_down, S_DOWN, false)
SMALL(small_heads, S_HEADS, true)

// ---------------------------------------------------------------------------------------------------------------
// Attention of a decode step: `count` queries of one head (rows of a block, or the last row alone) over a share of
// the keys. One thread a key for the scores, one thread a channel for the values.

#define KEYS 256
#define QPAD ((SLOTS + 3) / 4 * 4)

extern "C" __global__ void __launch_bounds__(KEYS) attend_few(
    const Stream* __restrict__ streams, const Result* __restrict__ results, const float* __restrict__ queries,
    int query_rows, int row0, int count, int layer, int step, float* __restrict__ part_out,
    float2* __restrict__ part_sum) {
    __shared__ __align__(16) float ks[KEYS][HEAD_DIM + 1];
    __shared__ __align__(16) float qs[HEAD_DIM][QPAD];
    __shared__ __align__(16) float ps[KEYS][QPAD];
    __shared__ float warp_top[KEYS / 32][QPAD], warp_sum[KEYS / 32][QPAD];
    int split = blockIdx.x, splits = gridDim.x, head = blockIdx.y, n = blockIdx.z, t = threadIdx.x;
    if (step >= 0 && results[n].done) return;
    const Stream& s = streams[n];
    // Tokens alive once this pass is stored; the last query sees all of them, the one before it one less, ...
    int length = step < 0 ? tokens_before(s, 0) : tokens_before(s, results[n].blocks);
    int begin = (int)((int64)length * split / splits), end = (int)((int64)length * (split + 1) / splits);
    for (int i = t; i < HEAD_DIM * QPAD; i += KEYS) {
        int d = i / QPAD, r = i % QPAD;
        qs[d][r] = r < count ? queries[((int64)n * query_rows + row0 + r) * HIDDEN + head * HEAD_DIM + d] : 0.f;
    }
    int64 base = (((int64)layer * HEADS + head) * 2 * s.capacity + s.start) * HEAD_DIM;
    const stored* keys = (const stored*)s.keys + base;
    const stored* values = (const stored*)s.values + base;
    const int LANES = KEYS / HEAD_DIM;  // groups of threads, each with every channel
    int d = t % HEAD_DIM, lane = t / HEAD_DIM;
    float top[SLOTS], sum[SLOTS], acc[SLOTS];
#pragma unroll
    for (int r = 0; r < SLOTS; r++) top[r] = NEG_INF, sum[r] = acc[r] = 0.f;

    for (int first = begin; first < end; first += KEYS) {
        int here = min(KEYS, end - first);
        float v[HEAD_DIM];  // this thread's values: keys lane, lane + LANES, ...
#pragma unroll
        for (int i = 0; i < HEAD_DIM; i++) {
            int key = lane + i * LANES;
            v[i] = key < here ? load(values + (int64)(first + key) * HEAD_DIM + d) : 0.f;
        }
        for (int i = t; i < here * HEAD_DIM; i += KEYS)
            ks[i / HEAD_DIM][i % HEAD_DIM] = load(keys + (int64)first * HEAD_DIM + i);
        __syncthreads();
        float sc[QPAD];
#pragma unroll
        for (int r = 0; r < QPAD; r++) sc[r] = 0.f;
        if (t < here) {
#pragma unroll 8
            for (int e = 0; e < HEAD_DIM; e++) {
                float k = ks[t][e];
#pragma unroll
                for (int r = 0; r < QPAD; r++) sc[r] += qs[e][r] * k;
            }
        }
        float most[SLOTS];
#pragma unroll
        for (int r = 0; r < SLOTS; r++) {
            bool seen = t < here && r < count && first + t < length - (count - 1 - r);
            if (!seen) sc[r] = NEG_INF;
            float m = sc[r];
            for (int o = 16; o; o >>= 1) m = fmaxf(m, __shfl_xor_sync(~0u, m, o));
            if (t % 32 == 0) warp_top[t / 32][r] = m;
        }
        __syncthreads();
#pragma unroll
        for (int r = 0; r < SLOTS; r++) {
            float m = top[r];
            for (int w = 0; w < KEYS / 32; w++) m = fmaxf(m, warp_top[w][r]);
            most[r] = m;
            float p = sc[r] == NEG_INF ? 0.f : exp2f(sc[r] - m);
            ps[t][r] = p;
            for (int o = 16; o; o >>= 1) p += __shfl_xor_sync(~0u, p, o);
            if (t % 32 == 0) warp_sum[t / 32][r] = p;
        }
        __syncthreads();
#pragma unroll
        for (int r = 0; r < SLOTS; r++) {
            float keep = top[r] == NEG_INF ? 0.f : exp2f(top[r] - most[r]), add = 0.f;
            for (int w = 0; w < KEYS / 32; w++) add += warp_sum[w][r];
            sum[r] = sum[r] * keep + add;
            acc[r] *= keep;
            top[r] = most[r];
        }
#pragma unroll
        for (int i = 0; i < HEAD_DIM; i++) {
            const float* p = ps[lane + i * LANES];
#pragma unroll
            for (int r = 0; r < SLOTS; r++) acc[r] += p[r] * v[i];
        }
        __syncthreads();
    }
    // Join the groups; `ks` is free again.
    float(*joined)[QPAD][HEAD_DIM] = (float(*)[QPAD][HEAD_DIM])ks;
    __syncthreads();
#pragma unroll
    for (int r = 0; r < SLOTS; r++) {
        float a = acc[r];
        if (HEAD_DIM == 16) a += __shfl_xor_sync(~0u, a, 16);
        joined[t / 32][r][d] = a;
    }
    __syncthreads();
    for (int i = t; i < count * HEAD_DIM; i += KEYS) {
        int r = i / HEAD_DIM, e = i % HEAD_DIM;
        float a = 0.f;
        for (int g = 0; g < KEYS / 32; g++) a += joined[g][r][e];
        int64 at = (((int64)n * splits + split) * HEADS + head) * SLOTS + r;
        part_out[at * HEAD_DIM + e] = a;
    }
#pragma unroll
    for (int r = 0; r < SLOTS; r++)
        if (t == r && r < count)
            part_sum[(((int64)n * splits + split) * HEADS + head) * SLOTS + r] = make_float2(top[r], sum[r]);
}

// ---------------------------------------------------------------------------------------------------------------
// Choosing: one block a stream, one thread an id.

#define CHOOSERS ((VOCAB + 31) / 32 * 32)

extern "C" __global__ void __launch_bounds__(CHOOSERS) choose(
    const Stream* __restrict__ streams, Result* __restrict__ results, unsigned char* __restrict__ taken,
    const float* __restrict__ heads, const stored* __restrict__ embedding, float* __restrict__ block) {
    __shared__ float warp_best[2][CHOOSERS / 32];
    __shared__ int warp_id[2][CHOOSERS / 32];
    __shared__ float warp_sum[CHOOSERS / 32][SLOTS];
    __shared__ int chosen_id[SLOTS];
    __shared__ float chosen_score[SLOTS];
    int n = blockIdx.x, t = threadIdx.x;
    const Stream& s = streams[n];
    Result& r = results[n];
    if (r.done) return;
    const int WIDTH = SLOTS * (VOCAB + 1);
    float score[SLOTS];
#pragma unroll
    for (int k = 0; k < SLOTS; k++) score[k] = t < VOCAB ? heads[(int64)n * WIDTH + k * VOCAB + t] : NEG_INF;
    int begin = r.slots, count = min(SLOTS, (int)s.budget - begin);
    // The slot at which this thread's id was taken: -1 before this block, SLOTS if it is free.
    int at = t < VOCAB && !taken[n * VOCAB + t] ? SLOTS : -1;
#pragma unroll
    for (int k = 0; k < SLOTS; k++) {
        if (k >= count) break;
        float best = at == SLOTS ? score[k] : NEG_INF;
        int id = t;
        for (int o = 16; o; o >>= 1) {
            float other = __shfl_xor_sync(~0u, best, o);
            int other_id = __shfl_xor_sync(~0u, id, o);
            if (other > best || (other == best && other_id < id)) best = other, id = other_id;
        }
        if (t % 32 == 0) warp_best[k % 2][t / 32] = best, warp_id[k % 2][t / 32] = id;
        __syncthreads();
        best = warp_best[k % 2][0];
        id = warp_id[k % 2][0];
        for (int w = 1; w < CHOOSERS / 32; w++)
            if (warp_best[k % 2][w] > best) best = warp_best[k % 2][w], id = warp_id[k % 2][w];
        if (t == id) at = k;
        if (t == 0) chosen_id[k] = id, chosen_score[k] = best;
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < SLOTS; k++) {
        if (k >= count) break;
        float odds = at >= k ? exp2f((score[k] - chosen_score[k]) * LOG2E) : 0.f;
        for (int o = 16; o; o >>= 1) odds += __shfl_xor_sync(~0u, odds, o);
        if (t % 32 == 0) warp_sum[t / 32][k] = odds;
    }
    if (at >= 0 && at < SLOTS && t < VOCAB) taken[n * VOCAB + t] = 1;
    __syncthreads();

    float threshold = __int_as_float((int)s.threshold);
    bool padded = false, bad = false;
    if (t < count) {
        float loss = heads[(int64)n * WIDTH + SLOTS * VOCAB + t], total = 0.f;
        for (int w = 0; w < CHOOSERS / 32; w++) total += warp_sum[w][t];
        padded = begin + t > 0 && loss <= threshold;
        bad = !(total > 0.f && total < 3.0e38f) || !(fabsf(loss) < 3.0e38f);
        r.ids[begin + t] = padded ? IDS : chosen_id[t];
        r.confidence[begin + t] = padded ? 0.f : 1.f / total;
        r.loss[begin + t] = loss;
    }
    int any_padded = __syncthreads_or(padded), any_bad = __syncthreads_or(bad);
    bool done = any_padded || any_bad || begin + count >= s.budget;
    if (t == 0) {
        r.slots = begin + count;
        r.blocks += 1;
        r.bad = any_bad;
        r.done = done;
    }
    if (done) return;
    for (int i = t; i < SLOTS * HIDDEN; i += CHOOSERS)
        block[(int64)n * SLOTS * HIDDEN + i] = load(embedding + (int64)chosen_id[i / HIDDEN] * HIDDEN + i % HIDDEN);
}
