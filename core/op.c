/* SPDX-License-Identifier: MIT
 * op.c: the operator table as a whole, and its reflection (chx/op.h).
 */
#include "runtime.h"

/* The schema of every attribute struct, from the same lists as the structs. */
#define FIELD_DEF_I64(d) (double)(d)
#define FIELD_DEF_F64(d) (double)(d)
#define FIELD_DEF_BOOL(d) (double)(d)
#define FIELD_DEF_DTYPE(d) (double)(d)
#define FIELD_DEF_INTS(d) 0
#define FIELD_DEF_PROGRAM(d) 0
#define SCHEMA(A) const chx_op_attr chxi_attrs_##A[] = {CHX_ATTRS_##A(FIELD)};

#define FIELD(type, name, def, doc) {#name, doc, CHX_ATTR_##type, (uint32_t)offsetof(ATTR, name), FIELD_DEF_##type(def)},
#define ATTR chx_cast_attr
SCHEMA(cast)
#undef ATTR
#define ATTR chx_map_attr
SCHEMA(map)
#undef ATTR
#define ATTR chx_reduce_attr
SCHEMA(reduce)
#undef ATTR
#define ATTR chx_arg_reduce_attr
SCHEMA(arg_reduce)
#undef ATTR
#define ATTR chx_scan_attr
SCHEMA(scan)
#undef ATTR
#define ATTR chx_sort_attr
SCHEMA(sort)
#undef ATTR
#define ATTR chx_topk_attr
SCHEMA(topk)
#undef ATTR
#define ATTR chx_reshape_attr
SCHEMA(reshape)
#undef ATTR
#define ATTR chx_transpose_attr
SCHEMA(transpose)
#undef ATTR
#define ATTR chx_broadcast_to_attr
SCHEMA(broadcast_to)
#undef ATTR
#define ATTR chx_slice_attr
SCHEMA(slice)
#undef ATTR
#define ATTR chx_axis_attr
SCHEMA(axis)
#undef ATTR
#define ATTR chx_axes_attr
SCHEMA(axes)
#undef ATTR
#define ATTR chx_pad_attr
SCHEMA(pad)
#undef ATTR
#define ATTR chx_full_attr
SCHEMA(full)
#undef ATTR
#define ATTR chx_arange_attr
SCHEMA(arange)
#undef ATTR
#define ATTR chx_random_attr
SCHEMA(random)
#undef ATTR
#define ATTR chx_conv_attr
SCHEMA(conv)
#undef ATTR
#define ATTR chx_pool_attr
SCHEMA(pool)
#undef ATTR
#define ATTR chx_softmax_attr
SCHEMA(softmax)
#undef ATTR
#define ATTR chx_leaky_relu_attr
SCHEMA(leaky_relu)
#undef ATTR
#define ATTR chx_gelu_attr
SCHEMA(gelu)
#undef ATTR
#define ATTR chx_dropout_attr
SCHEMA(dropout)
#undef ATTR
#define ATTR chx_batch_norm_attr
SCHEMA(batch_norm)
#undef ATTR
#define ATTR chx_layer_norm_attr
SCHEMA(layer_norm)
#undef ATTR
#define ATTR chx_softmax_cross_entropy_attr
SCHEMA(softmax_cross_entropy)
#undef ATTR

static const chx_op *const others[] = {
#define OP(name) &chxi_op_##name,
#include "ops.def"
};

static const chx_op *declared[CHXI_MAX_OPS - CHXI_N_OPS]; /* by plugins */
static atomic_int n_declared;

int chx_op_count(void) { return CHXI_N_OPS + atomic_load_explicit(&n_declared, memory_order_acquire); }

const chx_op *chx_op_at(int i)
{
  if (i < 0 || i >= chx_op_count()) return NULL;
  return i < CHXI_N_ELEMENTWISE ? &chxi_elementwise[i] : i < CHXI_N_OPS ? others[i - CHXI_N_ELEMENTWISE] : declared[i - CHXI_N_OPS];
}

/* Names are found by hash: each step of a map program is looked up at every call. */
enum { SLOTS = 512 };
static _Atomic(const chx_op *) by_name[SLOTS];
static pthread_once_t named_once = PTHREAD_ONCE_INIT;

static unsigned hash(const char *name)
{
  unsigned h = 2166136261u;
  while (*name) h = (h ^ (unsigned char)*name++) * 16777619u;
  return (h ^ h >> 15) % SLOTS;
}

static void enter_name(const chx_op *op)
{
  unsigned at = hash(op->name);
  while (atomic_load_explicit(&by_name[at], memory_order_relaxed)) at = (at + 1) % SLOTS;
  atomic_store_explicit(&by_name[at], op, memory_order_release);
}

static void fill_names(void)
{
  _Static_assert(CHXI_MAX_OPS < SLOTS * 3 / 4, "the table of names needs room");
  for (int i = 0; i < CHXI_N_OPS; i++) enter_name(chx_op_at(i));
}

void chxi_op_publish(const chx_op *op)
{
  pthread_once(&named_once, fill_names);
  declared[op->id - CHXI_N_OPS] = op;
  atomic_store_explicit(&n_declared, op->id - CHXI_N_OPS + 1, memory_order_release);
  enter_name(op);
}

const chx_op *chx_op_find(const char *name)
{
  if (!name) return NULL;
  pthread_once(&named_once, fill_names);
  const chx_op *op;
  unsigned at = hash(name);
  while ((op = atomic_load_explicit(&by_name[at], memory_order_acquire)) && strcmp(op->name, name)) at = (at + 1) % SLOTS;
  return op;
}

const char *chx_op_name(const chx_op *op) { return op ? op->name : ""; }
const char *chx_op_doc(const chx_op *op) { return op ? op->doc : ""; }
int chx_op_version(const chx_op *op) { return op ? op->version : 0; }
int chx_op_n_inputs(const chx_op *op) { return op ? op->n_in : 0; }
const char *chx_op_input_name(const chx_op *op, int i) { return op && i >= 0 && i < op->n_in ? op->inputs[i] : NULL; }

int chx_op_input_flags(const chx_op *op, int i)
{
  if (!op || i < 0 || i >= op->n_in) return 0;
  return (i >= op->n_required ? CHX_OPERAND_OPTIONAL : 0) |
         (op->variadic && i == op->n_in - 1 ? CHX_OPERAND_VARIADIC : 0);
}

int chx_op_n_outputs(const chx_op *op) { return op ? op->n_out : 0; }
const char *chx_op_output_name(const chx_op *op, int i)
{
  return op && i >= 0 && i < op->n_out ? op->outputs[i] : NULL;
}
uint64_t chx_op_dtypes(const chx_op *op) { return op ? op->dtypes : 0; }
int chx_op_is_differentiable(const chx_op *op)
{
  return op && (op->grad || (op->decompose && op->dtypes & CHX_FLOATS && op->n_in));
}
int chx_op_is_composite(const chx_op *op) { return op && op->decompose; }
int chx_op_is_view(const chx_op *op) { return op && op->kind == CHXI_VIEW; }
int chx_op_is_elementwise(const chx_op *op) { return op && op->kind == CHXI_ELEMENTWISE; }
int chx_op_is_random(const chx_op *op) { return op && op->drawn; }
int chx_op_is_inner(const chx_op *op) { return op && op->inner; }
uint32_t chx_op_attr_size(const chx_op *op) { return op ? op->attr_size : 0; }
int chx_op_n_attrs(const chx_op *op) { return op ? op->n_attrs : 0; }
const chx_op_attr *chx_op_attr_at(const chx_op *op, int i)
{
  return op && i >= 0 && i < op->n_attrs ? &op->attrs[i] : NULL;
}

/* Whether a list of words separated by one space has the word. */
static bool listed(const char *list, const char *word)
{
  const size_t n = strlen(word);
  for (const char *p = list; p; p = strchr(p, ' ') ? strchr(p, ' ') + 1 : NULL)
    if (!strncmp(p, word, n) && (p[n] == ' ' || !p[n])) return true;
  return false;
}

int chx_op_attr_flags(const chx_op *op, int i)
{
  const chx_op_attr *a = chx_op_attr_at(op, i);
  if (!a) return 0;
  return (listed(op->required, a->name) ? CHX_ATTR_REQUIRED : 0) | (listed(op->drawn, a->name) ? CHX_ATTR_DRAWN : 0);
}
