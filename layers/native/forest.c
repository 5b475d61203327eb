/*
 * Tree ensembles as one operation of onnxruntime, which reads its trees where they lie.
 *
 *     constant input, packed ──► all of it checked, once ──► kernel
 *     rows ──► eight walks at a time ──► leaves ──► sums, tree after tree ──► the transform ──► scores (and labels)
 *
 * onnxruntime's own operations build their trees from lists of numbers and text, and put every node into a hash table:
 * half a microsecond for each. Here a node is 8 bytes in an initializer that is mapped from the file of weights, and
 * making the kernel is one pass over them.
 *
 * The rule: the same bits as onnxruntime 1.31 gives on one thread. So sums are float, tree after tree, and the rules for
 * two classes, for classes without votes and for ties are its own. Nothing of a hostile file is believed: whatever a run
 * uses as an index was compared with its limit when the kernel was made. `modelyard.compiling.packed_forest` writes what
 * this reads, and `LAYOUT` there and here is the number that changes with either.
 *
 * It needs no header of onnxruntime: of its C API the few functions below, by their positions in the table, which never
 * change (https://onnxruntime.ai/docs/api/c/struct_ort_api.html).
 */
#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "packed forests are little-endian"
#endif

/* -- onnxruntime ---------------------------------------------------------------------------------------------------- */

typedef struct Status Status; /* NULL is success */
typedef struct Context Context;
typedef struct Info Info;
typedef struct Value Value;
typedef struct Shape Shape;
typedef struct Domain Domain;
typedef struct Options Options;
typedef void *const *Api; /* the table of functions */

enum { API_VERSION = 16, INVALID_ARGUMENT = 2, FLOAT32 = 1, INT32 = 6, INT64 = 7 };

/* A function of the table by its position; `api` is in scope wherever one is called. */
#define AT(position, type) ((type)api[position])
#define CreateStatus AT(0, Status * (*)(int, const char *))
#define CreateCustomOpDomain AT(26, Status * (*)(const char *, Domain **))
#define CustomOpDomain_Add AT(27, Status * (*)(Domain *, const void *))
#define AddCustomOpDomain AT(28, Status * (*)(Options *, Domain *))
#define GetTensorMutableData AT(51, Status * (*)(const Value *, void **))
#define GetTensorElementType AT(60, Status * (*)(const Shape *, int *))
#define GetDimensionsCount AT(61, Status * (*)(const Shape *, size_t *))
#define GetDimensions AT(62, Status * (*)(const Shape *, int64_t *, size_t))
#define GetTensorTypeAndShape AT(65, Status * (*)(const Value *, Shape **))
#define KernelContext_GetInput AT(90, Status * (*)(const Context *, size_t, const Value **))
#define KernelContext_GetOutput AT(91, Status * (*)(Context *, size_t, const int64_t *, size_t, Value **))
#define ReleaseTensorTypeAndShapeInfo AT(99, void (*)(Shape *))
#define KernelInfoGetConstantInput_tensor AT(249, Status * (*)(const Info *, size_t, int *, const Value **))

typedef struct {
    Api (*GetApi)(uint32_t version);
    const char *(*GetVersionString)(void);
} ApiBase;

/* OrtCustomOp of API version 16; what came later is not asked for from a struct that says 16. */
typedef struct Operation {
    uint32_t version;
    void *(*CreateKernel)(const struct Operation *, Api, const Info *);
    const char *(*GetName)(const struct Operation *);
    const char *(*GetExecutionProviderType)(const struct Operation *);
    int (*GetInputType)(const struct Operation *, size_t);
    size_t (*GetInputTypeCount)(const struct Operation *);
    int (*GetOutputType)(const struct Operation *, size_t);
    size_t (*GetOutputTypeCount)(const struct Operation *);
    void (*KernelCompute)(void *, Context *);
    void (*KernelDestroy)(void *);
    int (*GetInputCharacteristic)(const struct Operation *, size_t);
    int (*GetOutputCharacteristic)(const struct Operation *, size_t);
    int (*GetInputMemoryType)(const struct Operation *, size_t);
    int (*GetVariadicInputMinArity)(const struct Operation *);
    int (*GetVariadicInputHomogeneity)(const struct Operation *);
    int (*GetVariadicOutputMinArity)(const struct Operation *);
    int (*GetVariadicOutputHomogeneity)(const struct Operation *);
    Status *(*CreateKernelV2)(const struct Operation *, Api, const Info *, void **);
    Status *(*KernelComputeV2)(void *, Context *);
} Operation;

/* -- the packed forest ---------------------------------------------------------------------------------------------- */

enum { MAGIC = 0x3146594D, LAYOUT = 1, HEADER_WORDS = 12 };
enum { MISSING = 1, AVERAGE = 2, CLASSIFIES = 4, ONE_CLASS = 8, POSITIVE = 16, ALL_FLAGS = 31 };
enum { NONE, SOFTMAX, LOGISTIC, TRANSFORMS };
enum { MODES = 6, MOST_OUTPUTS = 1 << 16 };

/*
 * A branch has its threshold, the feature that is compared with it, and how far ahead the node of the true branch lies;
 * that of the false branch is the next. A leaf has a number and its class or target; or, `IN_TABLE`, where in the table
 * of votes its numbers begin and how many there are.
 */
typedef struct {
    float value;
    uint32_t rest;
} Node;

#define FEATURE(rest) ((rest) & 0xFFFu)
#define BRANCH_AT 12
#define IS_BRANCH (1u << BRANCH_AT)
#define TRUE_IF_MISSING 0x2000u /* of a branch */
#define IN_TABLE 0x2000u        /* of a leaf */
#define MORE(rest) ((rest) >> 14) /* of a branch: how much farther than the next node; of a leaf: its class, or votes */

typedef struct {
    uint32_t to;
    float number;
} Vote;

/* A walk in each of some trees for one row; and for each of some rows in one tree. */
typedef void (*WalkTrees)(const Node *const *, const float *, const Node **);
typedef void (*WalkRows)(const Node *, const float *const *, const Node **);
typedef struct {
    WalkTrees trees;
    WalkRows rows;
} Walks;

typedef struct {
    Api api;
    const float *base;
    const uint32_t *labels; /* int64, of which the words may lie at any multiple of four bytes */
    const uint32_t *roots;
    const Vote *votes;
    const Node *nodes;
    const Walks *walks;
    uint32_t flags, transform, outputs, trees, features, bases;
} Forest;

enum { LANES = 8, BLOCK = 128, SMALL = 4096 };

/*
 * Eight walks at a time: each waits for memory at every node, and the processor does the others meanwhile. A walk that is
 * at its leaf stays there until all are. No branch depends on a comparison, since it would be guessed wrong half the time.
 */
#define STEP(lane, row, test)                                                                                          \
    do {                                                                                                               \
        const uint32_t rest = lane->rest;                                                                              \
        const float limit = lane->value, value = row[FEATURE(rest)];                                                   \
        const uint32_t inner = rest >> BRANCH_AT & 1, taken = (uint32_t)(test) & inner;                                \
        const uint32_t step = (MORE(rest) & -taken) + inner;                                                           \
        lane += step;                                                                                                  \
        moved |= step;                                                                                                 \
    } while (0)

#define EACH(do_with) do_with(0) do_with(1) do_with(2) do_with(3) do_with(4) do_with(5) do_with(6) do_with(7)
#define FROM_TREE(lane) const Node *at_##lane = from[lane];
#define FROM_ROOT(lane) const Node *at_##lane = root;
#define ARRIVED(lane) leaves[lane] = at_##lane;

#define WALK(name, test)                                                                                               \
    static void name##_trees(const Node *const *from, const float *row, const Node **leaves) {                         \
        uint32_t moved;                                                                                                \
        EACH(FROM_TREE)                                                                                                \
        do {                                                                                                           \
            moved = 0;                                                                                                 \
            STEP(at_0, row, test);                                                                                     \
            STEP(at_1, row, test);                                                                                     \
            STEP(at_2, row, test);                                                                                     \
            STEP(at_3, row, test);                                                                                     \
            STEP(at_4, row, test);                                                                                     \
            STEP(at_5, row, test);                                                                                     \
            STEP(at_6, row, test);                                                                                     \
            STEP(at_7, row, test);                                                                                     \
        } while (moved);                                                                                               \
        EACH(ARRIVED)                                                                                                  \
    }                                                                                                                  \
    static void name##_rows(const Node *root, const float *const *rows, const Node **leaves) {                         \
        uint32_t moved;                                                                                                \
        EACH(FROM_ROOT)                                                                                                \
        do {                                                                                                           \
            moved = 0;                                                                                                 \
            STEP(at_0, rows[0], test);                                                                                 \
            STEP(at_1, rows[1], test);                                                                                 \
            STEP(at_2, rows[2], test);                                                                                 \
            STEP(at_3, rows[3], test);                                                                                 \
            STEP(at_4, rows[4], test);                                                                                 \
            STEP(at_5, rows[5], test);                                                                                 \
            STEP(at_6, rows[6], test);                                                                                 \
            STEP(at_7, rows[7], test);                                                                                 \
        } while (moved);                                                                                               \
        EACH(ARRIVED)                                                                                                  \
    }

#define OR_MISSING(test) ((test) | (((rest & TRUE_IF_MISSING) != 0) & (value != value)))
WALK(walk_leq, value <= limit)
WALK(walk_lt, value < limit)
WALK(walk_gte, value >= limit)
WALK(walk_gt, value > limit)
WALK(walk_eq, value == limit)
WALK(walk_neq, value != limit)
WALK(walk_leq_missing, OR_MISSING(value <= limit))
WALK(walk_lt_missing, OR_MISSING(value < limit))
WALK(walk_gte_missing, OR_MISSING(value >= limit))
WALK(walk_gt_missing, OR_MISSING(value > limit))
WALK(walk_eq_missing, OR_MISSING(value == limit))
WALK(walk_neq_missing, OR_MISSING(value != limit))

#define BOTH(name) {name##_trees, name##_rows}
static const Walks WALKS[2][MODES] = {
    {BOTH(walk_leq), BOTH(walk_lt), BOTH(walk_gte), BOTH(walk_gt), BOTH(walk_eq), BOTH(walk_neq)},
    {BOTH(walk_leq_missing), BOTH(walk_lt_missing), BOTH(walk_gte_missing), BOTH(walk_gt_missing),
     BOTH(walk_eq_missing), BOTH(walk_neq_missing)},
};

/* -- making a kernel ------------------------------------------------------------------------------------------------ */

static Status *refusal(Api api, const char *problem) {
    char text[200];
    snprintf(text, sizeof text, "packed forest: %s", problem);
    return CreateStatus(INVALID_ARGUMENT, text);
}

/* What is wrong with the nodes of a tree, or NULL. Every step leads ahead, so every walk ends. */
static const char *check_tree(const Forest *forest, uint32_t begin, uint32_t end, uint32_t votes) {
    const uint32_t features = forest->features, outputs = forest->outputs;
    for (uint32_t place = begin; place < end; place++) {
        const uint32_t rest = forest->nodes[place].rest, more = MORE(rest);
        if (FEATURE(rest) >= features) return "a feature that the input need not have";
        if (rest & IS_BRANCH) {
            if (more + 1 >= end - place) return "a branch that leads out of its tree";
        } else if (!(rest & IN_TABLE)) {
            if (more >= outputs) return "a leaf of a class or target that is not there";
        } else {
            uint32_t first;
            memcpy(&first, &forest->nodes[place].value, sizeof first);
            if (outputs == 1) return "a leaf with several numbers for one target";
            if (more == 0 || first > votes || more > votes - first) return "a leaf with votes outside the table";
        }
    }
    return NULL;
}

/* What is wrong with the packed words, or NULL, and then the forest refers to them. */
static const char *unpack(Forest *forest, const uint32_t *words, uint64_t count) {
    if (count < HEADER_WORDS || words[0] != MAGIC) return "not one";
    if (words[1] != LAYOUT) return "another layout than this library reads";
    const uint32_t mode = words[3], nodes = words[8], votes = words[9];
    forest->flags = words[4], forest->transform = words[5], forest->outputs = words[6], forest->trees = words[7];
    forest->features = words[10], forest->bases = words[11];
    if (mode >= MODES || forest->flags > ALL_FLAGS || forest->transform >= TRANSFORMS) return "an unknown setting";
    const bool classifies = forest->flags & CLASSIFIES;
    const uint32_t outputs = forest->outputs, bases = forest->bases;
    if (outputs < (classifies ? 2u : 1u) || outputs > MOST_OUTPUTS || forest->trees == 0 || forest->features == 0)
        return "no outputs, no trees, or too many";
    if (bases != 0 && bases != outputs && !(classifies && outputs == 2 && bases == 1)) return "base values for some";
    if (classifies && outputs == 2 && bases == 1 && !(forest->flags & ONE_CLASS)) return "one base value for two classes";
    uint64_t at = HEADER_WORDS;
    const uint64_t base = at, labels = base + bases, roots = labels + (classifies ? 2ull * outputs : 0);
    const uint64_t table = roots + forest->trees;
    at = table + 2ull * votes;
    at += at % 2; /* no node lies in two lines of the cache */
    if (count != at + 2ull * nodes || words[2] != count) return "cut off, or too long";
    forest->base = (const float *)(words + base), forest->labels = words + labels, forest->roots = words + roots;
    forest->votes = (const Vote *)(words + table), forest->nodes = (const Node *)(words + at);
    forest->walks = &WALKS[(forest->flags & MISSING) != 0][mode];
    for (uint32_t vote = 0; vote < votes; vote++)
        if (forest->votes[vote].to >= outputs) return "a vote for a class or target that is not there";
    if (forest->roots[0] != 0) return "nodes before the first tree";
    for (uint32_t tree = 0; tree < forest->trees; tree++) {
        const uint32_t begin = forest->roots[tree], end = tree + 1 < forest->trees ? forest->roots[tree + 1] : nodes;
        if (begin >= end || end > nodes) return "trees that overlap, or have no nodes";
        const char *problem = check_tree(forest, begin, end, votes);
        if (problem) return problem;
    }
    return NULL;
}

/* Elements of a tensor of one axis and this type. */
static Status *flat_tensor(Api api, const Value *value, int expected, const void **data, uint64_t *count) {
    Shape *shape = NULL;
    int type = 0;
    size_t axes = 0;
    int64_t size = 0;
    void *found = NULL;
    Status *failed = GetTensorTypeAndShape(value, &shape);
    if (failed) return failed;
    if (!(failed = GetTensorElementType(shape, &type)) && !(failed = GetDimensionsCount(shape, &axes)) && axes == 1)
        failed = GetDimensions(shape, &size, 1);
    ReleaseTensorTypeAndShapeInfo(shape);
    if (failed || (failed = GetTensorMutableData(value, &found))) return failed;
    if (type != expected || axes != 1 || size < 0) return refusal(api, "no list of 32-bit words");
    if ((uintptr_t)found % sizeof(uint32_t)) return refusal(api, "at an address that is no multiple of four");
    *data = found, *count = (uint64_t)size;
    return NULL;
}

static Status *create(const Operation *operation, Api api, const Info *info, void **kernel);

static void destroy(void *kernel) { free(kernel); }

/* -- a run ---------------------------------------------------------------------------------------------------------- */

static float logistic(float value) {
    const float share = 1 / (1 + expf(-fabsf(value)));
    return value < 0 ? 1 - share : share;
}

static void transform(uint32_t kind, float *scores, size_t count) {
    if (kind == LOGISTIC) {
        for (size_t place = 0; place < count; place++) scores[place] = logistic(scores[place]);
    } else if (kind == SOFTMAX) {
        float most = -FLT_MAX, sum = 0;
        for (size_t place = 0; place < count; place++)
            if (scores[place] > most) most = scores[place];
        for (size_t place = 0; place < count; place++) sum += scores[place] = expf(scores[place] - most);
        for (size_t place = 0; place < count; place++) scores[place] /= sum;
    }
}

static int64_t label_at(const Forest *forest, size_t place) {
    int64_t label;
    memcpy(&label, forest->labels + 2 * place, sizeof label);
    return label;
}

/* Two classes, of which the trees may give numbers to one: the rules that onnxruntime has for them. */
static int64_t finish_two(const Forest *forest, float *scores, const uint8_t *voted) {
    float first = scores[0], second = scores[1];
    bool both = voted[1];
    if (forest->bases == 2) {
        if (both) {
            second = forest->base[1] + first;
            first = -second;
        } else {
            second += forest->base[1];
            first += forest->base[0];
        }
    } else if (forest->bases == 1) {
        first += forest->base[0];
    }
    const float decides = both ? second : voted[0] ? first : 0;
    bool of_one = false; /* the sum is a probability, so the other one's is 1 less it */
    bool chosen = decides > 0;
    if ((forest->flags & ONE_CLASS) && (forest->flags & POSITIVE)) {
        of_one = true;
        chosen = decides > 0.5f;
    }
    if (both || forest->bases == 2) {
        scores[0] = voted[0] ? first : 0;
        scores[1] = both ? second : 0;
        transform(forest->transform, scores, 2);
    } else if (forest->transform == LOGISTIC) {
        scores[0] = logistic(-first);
        scores[1] = logistic(first);
    } else if (of_one) {
        scores[0] = 1.0f - first;
        scores[1] = first;
    } else {
        scores[0] = -first;
        scores[1] = first;
    }
    return label_at(forest, chosen);
}

/* Three classes or more: the first largest of those that got a number. */
static int64_t finish_classes(const Forest *forest, float *scores, const uint8_t *voted) {
    size_t best = 0;
    float most = 0;
    bool any = false;
    for (size_t place = 0; place < forest->outputs; place++) {
        if (forest->bases) scores[place] = voted[place] ? scores[place] + forest->base[place] : forest->base[place];
        if ((voted[place] || forest->bases) && (!any || scores[place] > most)) {
            any = true;
            best = place;
            most = scores[place];
        }
    }
    transform(forest->transform, scores, forest->outputs);
    return label_at(forest, best);
}

static void finish_targets(const Forest *forest, float *scores, const uint8_t *voted) {
    for (size_t place = 0; place < forest->outputs; place++) {
        if (forest->flags & AVERAGE) scores[place] /= (float)forest->trees;
        if (forest->bases) scores[place] += forest->base[place];
        if (!voted[place]) scores[place] = 0; /* without its base value, too */
    }
    transform(forest->transform, scores, forest->outputs);
}

static void finish_target(const Forest *forest, float *score) {
    if (forest->flags & AVERAGE) *score /= (float)forest->trees;
    *score += forest->bases ? forest->base[0] : 0.0f;
}

static inline void add_votes(const Forest *forest, const Node *leaf, float *scores, uint8_t *voted) {
    const uint32_t rest = leaf->rest;
    if (!(rest & IN_TABLE)) {
        scores[MORE(rest)] += leaf->value;
        voted[MORE(rest)] = 1;
        return;
    }
    uint32_t first;
    memcpy(&first, &leaf->value, sizeof first);
    const Vote *vote = forest->votes + first, *end = vote + MORE(rest);
    for (; vote < end; vote++) {
        scores[vote->to] += vote->number;
        voted[vote->to] = 1;
    }
}

static inline void add(const Forest *forest, const Node *leaf, float *scores, uint8_t *voted) {
    if (forest->outputs == 1)
        *scores += leaf->value;
    else
        add_votes(forest, leaf, scores, voted);
}

/* The sums of one row: eight trees at a time, added one after the other. */
static void sum_row(const Forest *forest, const float *row, float *scores, uint8_t *voted) {
    const Node *from[LANES], *leaves[LANES];
    for (uint32_t tree = 0; tree < forest->trees; tree += LANES) {
        const uint32_t here = forest->trees - tree < LANES ? forest->trees - tree : LANES;
        for (uint32_t lane = 0; lane < LANES; lane++)
            from[lane] = forest->nodes + forest->roots[lane < here ? tree + lane : tree];
        forest->walks->trees(from, row, leaves);
        for (uint32_t lane = 0; lane < here; lane++) add(forest, leaves[lane], scores, voted);
    }
}

/* The sums of rows, a multiple of eight: a tree at a time, which then lies in the cache, for eight rows at a time. */
static void sum_block(const Forest *forest, const float *x, size_t count, size_t stride, float *scores, uint8_t *voted) {
    const float *rows[LANES];
    const Node *leaves[LANES];
    const size_t outputs = forest->outputs;
    for (uint32_t tree = 0; tree < forest->trees; tree++) {
        const Node *root = forest->nodes + forest->roots[tree];
        for (size_t row = 0; row < count; row += LANES) {
            for (size_t lane = 0; lane < LANES; lane++) rows[lane] = x + (row + lane) * stride;
            forest->walks->rows(root, rows, leaves);
            for (size_t lane = 0; lane < LANES; lane++)
                add(forest, leaves[lane], scores + (row + lane) * outputs, voted + (row + lane) * outputs);
        }
    }
}

static void finish(const Forest *forest, float *scores, const uint8_t *voted, int64_t *label) {
    if (forest->outputs == 1)
        finish_target(forest, scores);
    else if (!(forest->flags & CLASSIFIES))
        finish_targets(forest, scores, voted);
    else
        *label = forest->outputs == 2 ? finish_two(forest, scores, voted) : finish_classes(forest, scores, voted);
}

static Status *compute(void *kernel, Context *context) {
    const Forest *forest = kernel;
    const Api api = forest->api;
    const size_t outputs = forest->outputs;
    const bool classifies = forest->flags & CLASSIFIES;
    const Value *input = NULL;
    Value *output = NULL;
    Shape *shape = NULL;
    size_t axes = 0;
    int64_t sizes[2] = {0, 0};
    void *x = NULL, *scores = NULL, *labels = NULL;
    Status *failed;
    if ((failed = KernelContext_GetInput(context, 0, &input)) || (failed = GetTensorTypeAndShape(input, &shape)))
        return failed;
    if (!(failed = GetDimensionsCount(shape, &axes)) && axes == 2) failed = GetDimensions(shape, sizes, 2);
    ReleaseTensorTypeAndShapeInfo(shape);
    if (failed) return failed;
    if (axes != 2 || sizes[0] < 0 || sizes[1] < (int64_t)forest->features) {
        char text[120];
        snprintf(text, sizeof text, "the trees read %u columns of a table; the input has %lld, in %zu axes",
                 (unsigned)forest->features, (long long)sizes[1], axes);
        return refusal(api, text);
    }
    const size_t rows = (size_t)sizes[0], stride = (size_t)sizes[1];
    const int64_t wanted[2] = {sizes[0], (int64_t)outputs};
    if ((failed = GetTensorMutableData(input, &x))) return failed;
    if (classifies && ((failed = KernelContext_GetOutput(context, 0, wanted, 1, &output)) ||
                       (failed = GetTensorMutableData(output, &labels))))
        return failed;
    if ((failed = KernelContext_GetOutput(context, classifies, wanted, 2, &output)) ||
        (failed = GetTensorMutableData(output, &scores)))
        return failed;
    const size_t block = rows < BLOCK ? rows : BLOCK;
    uint8_t few[SMALL], *voted = few; /* whether a class or target got a number */
    if (outputs > 1 && block * outputs > sizeof few && !(voted = malloc(block * outputs)))
        return refusal(api, "no memory for a run");
    for (size_t row = 0; row < rows; row += block) {
        const size_t count = rows - row < block ? rows - row : block;
        float *sums = (float *)scores + row * outputs;
        memset(sums, 0, count * outputs * sizeof *sums);
        if (outputs > 1) memset(voted, 0, count * outputs);
        const size_t eights = count - count % LANES;
        if (eights) sum_block(forest, (const float *)x + row * stride, eights, stride, sums, voted);
        for (size_t place = eights; place < count; place++)
            sum_row(forest, (const float *)x + (row + place) * stride, sums + place * outputs, voted + place * outputs);
        for (size_t place = 0; place < count; place++)
            finish(forest, sums + place * outputs, voted + place * outputs, (int64_t *)labels + row + place);
    }
    if (voted != few) free(voted);
    return NULL;
}

/* -- the operations ------------------------------------------------------------------------------------------------- */

static const char *name_regressor(const Operation *operation) { return (void)operation, "ForestRegressor"; }
static const char *name_classifier(const Operation *operation) { return (void)operation, "ForestClassifier"; }
static const char *on_any_processor(const Operation *operation) { return (void)operation, NULL; }
static size_t one(const Operation *operation) { return (void)operation, 1; }
static size_t two(const Operation *operation) { return (void)operation, 2; }
static int takes(const Operation *operation, size_t place) { return (void)operation, place ? INT32 : FLOAT32; }
static int gives_scores(const Operation *operation, size_t place) { return (void)operation, (void)place, FLOAT32; }
static int gives_both(const Operation *operation, size_t place) { return (void)operation, place ? FLOAT32 : INT64; }
static int plain(const Operation *operation, size_t place) { return (void)operation, (void)place, 0; }
static int no(const Operation *operation) { return (void)operation, 0; }

#define OPERATION(name, outputs, gives)                                                                                \
    {                                                                                                                  \
        .version = API_VERSION, .GetName = name, .GetExecutionProviderType = on_any_processor, .GetInputType = takes,  \
        .GetInputTypeCount = two, .GetOutputType = gives, .GetOutputTypeCount = outputs, .KernelDestroy = destroy,     \
        .GetInputCharacteristic = plain, .GetOutputCharacteristic = plain, .GetInputMemoryType = plain,                \
        .GetVariadicInputMinArity = no, .GetVariadicInputHomogeneity = no, .GetVariadicOutputMinArity = no,            \
        .GetVariadicOutputHomogeneity = no, .CreateKernelV2 = create, .KernelComputeV2 = compute                       \
    }
static const Operation REGRESSOR = OPERATION(name_regressor, one, gives_scores);
static const Operation CLASSIFIER = OPERATION(name_classifier, two, gives_both);

static Status *create(const Operation *operation, Api api, const Info *info, void **kernel) {
    const Value *packed = NULL;
    const void *words = NULL;
    uint64_t count = 0;
    int constant = 0;
    Status *failed = KernelInfoGetConstantInput_tensor(info, 1, &constant, &packed);
    if (failed) return failed;
    if (!constant || !packed) return refusal(api, "not a constant");
    if ((failed = flat_tensor(api, packed, INT32, &words, &count))) return failed;
    Forest *forest = calloc(1, sizeof *forest);
    if (!forest) return refusal(api, "no memory");
    forest->api = api;
    const char *problem = unpack(forest, words, count);
    if (!problem && ((forest->flags & CLASSIFIES) != 0) != (operation == &CLASSIFIER))
        problem = "classes for a regression, or targets for a classifier";
    if (problem) {
        free(forest);
        return refusal(api, problem);
    }
    *kernel = forest;
    return NULL;
}

/* The operations as one onnxruntime knows them; a process may have two, one in each engine's library. */
typedef struct Shared {
    Api api;
    Domain *domain;
    struct Shared *next;
} Shared;

static _Atomic(Shared *) all_shared;

static Status *share(Api api, Domain **domain) {
    Shared *first = atomic_load(&all_shared);
    for (Shared *known = first; known; known = known->next)
        if (known->api == api) return *domain = known->domain, NULL;
    Status *failed;
    if ((failed = CreateCustomOpDomain("modelyard", domain)) || (failed = CustomOpDomain_Add(*domain, &REGRESSOR)) ||
        (failed = CustomOpDomain_Add(*domain, &CLASSIFIER)))
        return failed;
    Shared *made = malloc(sizeof *made);
    if (!made) return NULL; /* made again for the next session */
    *made = (Shared){api, *domain, first};
    while (!atomic_compare_exchange_weak(&all_shared, &made->next, made)) {
    } /* two that are made at once may both stay */
    return NULL;
}

/* What onnxruntime calls for each session. The library is never unloaded, so sessions share what is made here. */
__attribute__((visibility("default"))) Status *RegisterCustomOps(Options *options, const ApiBase *base) {
    Api api = base->GetApi(API_VERSION);
    if (!api) {
        api = base->GetApi(1); /* every version has the first */
        return CreateStatus(INVALID_ARGUMENT, "packed forests need onnxruntime 1.16 or later");
    }
    Domain *domain = NULL;
    Status *failed = share(api, &domain);
    return failed ? failed : AddCustomOpDomain(options, domain);
}
