/* SPDX-License-Identifier: MIT
 * test_dlpack.c: DLPack's structs against its own header where one is found, arrays to it and from it, and who is
 * released when. Find the header with CPPFLAGS=-I...: <dlpack/dlpack.h>, or <ATen/dlpack.h> of PyTorch's wheel.
 */
#include "../core/dlpack.h"
#include "check.h"
#include <stddef.h>

#if defined __has_include
#if __has_include(<dlpack/dlpack.h>)
#include <dlpack/dlpack.h>
#elif __has_include(<ATen/dlpack.h>)
#include <ATen/dlpack.h>
#endif
#endif

#define LENGTH(a) (sizeof(a) / sizeof *(a))

static void test_layout(void)
{
#if defined DLPACK_MAJOR_VERSION && DLPACK_MAJOR_VERSION == 1
#define SAME(Theirs, theirs, Ours, ours) \
  ok(offsetof(Theirs, theirs) == offsetof(Ours, ours) && sizeof(((Theirs *)0)->theirs) == sizeof(((Ours *)0)->ours), #Theirs "." #theirs)
  note("DLPack %d.%d", DLPACK_MAJOR_VERSION, DLPACK_MINOR_VERSION);
  ok(sizeof(DLPackVersion) == sizeof(chxi_dl_version) && sizeof(DLDevice) == sizeof(chxi_dl_device) &&
       sizeof(DLDataType) == sizeof(chxi_dl_dtype) && sizeof(DLTensor) == sizeof(chxi_dl_tensor) &&
       sizeof(DLManagedTensorVersioned) == sizeof(chxi_dl_managed), "sizes of the structs");
  SAME(DLPackVersion, major, chxi_dl_version, major);
  SAME(DLPackVersion, minor, chxi_dl_version, minor);
  SAME(DLDevice, device_type, chxi_dl_device, type);
  SAME(DLDevice, device_id, chxi_dl_device, id);
  SAME(DLDataType, code, chxi_dl_dtype, code);
  SAME(DLDataType, bits, chxi_dl_dtype, bits);
  SAME(DLDataType, lanes, chxi_dl_dtype, lanes);
  SAME(DLTensor, data, chxi_dl_tensor, data);
  SAME(DLTensor, device, chxi_dl_tensor, device);
  SAME(DLTensor, ndim, chxi_dl_tensor, ndim);
  SAME(DLTensor, dtype, chxi_dl_tensor, dtype);
  SAME(DLTensor, shape, chxi_dl_tensor, shape);
  SAME(DLTensor, strides, chxi_dl_tensor, strides);
  SAME(DLTensor, byte_offset, chxi_dl_tensor, byte_offset);
  SAME(DLManagedTensorVersioned, version, chxi_dl_managed, version);
  SAME(DLManagedTensorVersioned, manager_ctx, chxi_dl_managed, manager_ctx);
  SAME(DLManagedTensorVersioned, deleter, chxi_dl_managed, deleter);
  SAME(DLManagedTensorVersioned, flags, chxi_dl_managed, flags);
  SAME(DLManagedTensorVersioned, dl_tensor, chxi_dl_managed, tensor);
  ok(kDLCPU == CHXI_DL_CPU && kDLCUDAHost == CHXI_DL_CUDA_HOST && kDLROCMHost == CHXI_DL_ROCM_HOST && kDLExtDev == CHXI_DL_EXT_DEV,
     "device types");
  ok(DLPACK_FLAG_BITMASK_READ_ONLY == CHXI_DL_READ_ONLY && DLPACK_FLAG_BITMASK_IS_COPIED == CHXI_DL_IS_COPIED, "flags");
  static const int codes[CHX_DTYPE_END] = {
#define CHX_DT(ID, number, name, ctype, code, bits, kind) [number] = code,
#include <chx/dtype.def>
  };
  ok(codes[CHX_I8] == kDLInt && codes[CHX_U8] == kDLUInt && codes[CHX_F32] == kDLFloat && codes[CHX_BF16] == kDLBfloat &&
       codes[CHX_C64] == kDLComplex && codes[CHX_BOOL] == kDLBool, "dtype codes");
#else
  skip(1, "DLPack's structs against its header: no DLPack 1.x header");
#endif
}

/* ---- a tensor of a stranger --------------------------------------------------------------------------------------------- */

typedef struct stranger {
  chxi_dl_managed m;
  int ended;
  double data[24];
  int64_t shape[4], strides[4];
} stranger;

static void end_stranger(chxi_dl_managed *m) { ((stranger *)m->manager_ctx)->ended++; }

/* f64 [2, 3, 4] with the elements 0 to 23, of version 1.0, on the CPU, without strides. */
static stranger *begin_stranger(stranger *x)
{
  *x = (stranger){.m = {.version = {1, 0}, .manager_ctx = x, .deleter = end_stranger,
                        .tensor = {.data = x->data, .device = {1, 0}, .ndim = 3, .dtype = {2, 64, 1}, .shape = x->shape}},
                  .shape = {2, 3, 4}};
  for (int i = 0; i < 24; i++) x->data[i] = i;
  return x;
}

static bool holds(const chx_array *a, int64_t n, const double *want)
{
  return a && chx_size(a) == n && rel_err(a, want) == 0;
}

static void test_import(void)
{
  static const double transposed[] = {0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}, flipped[] = {3, 2, 1, 0}, tail[] = {22, 23};
  stranger x;
  chx_scope *s = chx_scope_begin(NULL);
  begin_stranger(&x);
  chx_array *a = chx_from_dlpack(s, &x.m);
  ok(holds(a, 24, x.data), "without strides: C order %s", chx_scope_message(s));
  x.data[5] = -1;
  ok(holds(a, 24, x.data), "the memory is shared");
  chx_array *view = chx_keep(chx_at(s, a, 0, 1));
  chx_scope_end(s);
  is_int(x.ended, 0, "a view keeps the tensor");
  ok(holds(view, 12, x.data + 12), "and reads it after the scope's end");
  chx_release(view);
  is_int(x.ended, 1, "the last array ends it, once");

  s = chx_scope_begin(NULL);
  begin_stranger(&x);
  x.m.tensor.ndim = 2;
  x.m.tensor.strides = x.strides;
  memcpy(x.shape, (int64_t[]){4, 3}, 16);
  memcpy(x.strides, (int64_t[]){1, 4}, 16);
  ok(holds(chx_from_dlpack(s, &x.m), 12, transposed), "strides %s", chx_scope_message(s));
  chx_scope_rewind(s, 0, NULL);
  is_int(x.ended, 1, "rewinding the scope ends it");

  begin_stranger(&x);
  x.m.tensor.ndim = 1;
  x.shape[0] = 4;
  x.strides[0] = -1;
  x.m.tensor.strides = x.strides;
  x.m.tensor.data = x.data + 3;
  ok(holds(chx_from_dlpack(s, &x.m), 4, flipped), "a negative stride %s", chx_scope_message(s));

  begin_stranger(&x);
  x.m.tensor.ndim = 1;
  x.shape[0] = 2;
  x.m.tensor.byte_offset = 22 * 8;
  ok(holds(chx_from_dlpack(s, &x.m), 2, tail), "byte_offset %s", chx_scope_message(s));

  begin_stranger(&x);
  x.m.tensor.ndim = 0;
  x.m.tensor.shape = NULL;
  a = chx_from_dlpack(s, &x.m);
  ok(holds(a, 1, x.data) && chx_ndim(a) == 0, "0-d %s", chx_scope_message(s));

  begin_stranger(&x);
  x.shape[1] = 0;
  x.m.tensor.data = NULL;
  is_int(chx_size(chx_from_dlpack(s, &x.m)), 0, "no elements, and no data %s", chx_scope_message(s));

  begin_stranger(&x);
  x.m.flags = CHXI_DL_READ_ONLY;
  a = chx_from_dlpack(s, &x.m);
  ok(holds(a, 24, x.data) && x.ended == 1, "a read-only tensor is copied %s", chx_scope_message(s));
  x.data[0] = 77;
  ok(!holds(a, 24, x.data), "and not shared");

  begin_stranger(&x);
  x.m.deleter = NULL;
  ok(holds(chx_from_dlpack(s, &x.m), 24, x.data), "without a deleter");
  chx_scope_rewind(s, 0, NULL);
  chx_scope_end(s);
}

static void test_refused(void)
{
  static int64_t negative[] = {2, -3, 4}, huge[] = {INT64_MAX, 4, 4};
  static int64_t far[] = {INT64_MAX / 2, 4, 1};
  stranger x;
  static const struct { const char *what, *part; int code; } bad[] = {
    {"version 2.0", "2.0", CHX_EUNSUPPORTED}, {"version 0.8", "0.8", CHX_EUNSUPPORTED},
    {"CUDA", "2 (CUDA)", CHX_EDEVICE}, {"an unknown device", "99 (unknown)", CHX_EDEVICE},
    {"device type 0", "0 (unknown)", CHX_EDEVICE}, {"device type -5", "-5 (unknown)", CHX_EDEVICE},
    {"4 lanes", "4 lanes", CHX_EDTYPE}, {"float8", "8 bits", CHX_EDTYPE}, {"an opaque handle", "code 3", CHX_EDTYPE},
    {"f128", "128 bits", CHX_EDTYPE}, {"rank 17", "17", CHX_ESHAPE}, {"rank -1", "-1", CHX_ESHAPE},
    {"no shape", "NULL", CHX_ESHAPE}, {"a negative length", "negative", CHX_ESHAPE},
    {"more elements than memory", "too large", CHX_ESHAPE}, {"strides beyond memory", "strides", CHX_ESHAPE},
    {"no data", "data is NULL", CHX_EARG}, {"misaligned", "align", CHX_EARG},
  };
  static stranger t[LENGTH(bad)];
  for (size_t i = 0; i < LENGTH(bad); i++) begin_stranger(&t[i]);
  t[0].m.version.major = 2;
  t[1].m.version = (chxi_dl_version){0, 8};
  t[2].m.tensor.device.type = 2;
  t[3].m.tensor.device.type = 99;
  t[4].m.tensor.device.type = 0;
  t[5].m.tensor.device.type = -5;
  t[6].m.tensor.dtype.lanes = 4;
  t[7].m.tensor.dtype.bits = 8;
  t[8].m.tensor.dtype.code = 3;
  t[9].m.tensor.dtype.bits = 128;
  t[10].m.tensor.ndim = 17;
  t[11].m.tensor.ndim = -1;
  t[12].m.tensor.shape = NULL;
  t[13].m.tensor.shape = negative;
  t[14].m.tensor.shape = huge;
  t[15].m.tensor.strides = far;
  t[16].m.tensor.data = NULL;
  t[17].m.tensor.byte_offset = 3;

  chx_scope *s = chx_scope_begin(NULL);
  for (size_t i = 0; i < LENGTH(bad); i++) {
    ok(!chx_from_dlpack(s, &t[i].m) && chx_scope_error(s) == bad[i].code && strstr(chx_scope_message(s), bad[i].part) &&
         !t[i].ended, "%s: %s", bad[i].what, chx_scope_message(s));
    chx_scope_clear(s);
  }
  ok(!chx_from_dlpack(s, NULL) && chx_scope_error(s) == CHX_EARG, "NULL: %s", chx_scope_message(s));
  begin_stranger(&x);
  ok(!chx_from_dlpack(s, &x.m) && !x.ended, "in a scope with an error, nothing is done");
  ok(!chx_from_dlpack(NULL, &x.m) && !x.ended, "nor without a scope");
  chx_scope_clear(s);
  ok(!chx_to_dlpack(s, NULL) && chx_scope_error(s) == CHX_EARG, "export of NULL: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(!chx_to_dlpack(s, chx_real(s, 2)) && chx_scope_error(s) == CHX_EARG, "export of a number: %s", chx_scope_message(s));
  chx_scope_end(s);
}

/* ---- our own ---------------------------------------------------------------------------------------------------------------- */

static void test_export(void)
{
  static const int64_t shape[] = {2, 3};
  static const double v[] = {1, 2, 3, 4, 5, 6}, part[] = {2, 5};
  chx_scope *s = chx_scope_begin(NULL);
  for (int d = 1; d < CHX_DTYPE_END; d++) {
    chx_array *a = chx_from_shape(s, d, 2, shape, v);
    chxi_dl_managed *m = chx_to_dlpack(s, a);
    if (!ok(m != NULL, "%s: export %s", chx_dtype_name(d), chx_scope_message(s))) continue;
    const chxi_dl_tensor *t = &m->tensor;
    ok(m->version.major == 1 && !m->flags && t->device.type == 1 && t->ndim == 2 && t->shape[0] == 2 && t->shape[1] == 3 &&
         t->strides[0] == 3 && t->strides[1] == 1 && t->dtype.lanes == 1 && t->dtype.bits == 8 * chx_dtype_size(d),
       "%s: what it says", chx_dtype_name(d));
    chx_array *b = chx_from_dlpack(s, m);
    double *x = check_doubles(a), *y = check_doubles(b);
    ok(b && chx_dtype(b) == d && x && y && !memcmp(x, y, sizeof v), "%s: and back %s", chx_dtype_name(d), chx_scope_message(s));
    free(x);
    free(y);
  }

  /* The tensor outlives array and scope; the re-imported array outlives the tensor's exporter. */
  chx_array *a = chx_from_shape(s, CHX_F64, 2, shape, v);
  chxi_dl_managed *m = chx_to_dlpack(s, chx_at(s, a, 1, 1));
  chx_scope_end(s);
  const double *data = (const double *)((char *)m->tensor.data + m->tensor.byte_offset);
  ok(m->tensor.ndim == 1 && data[0] == part[0] && data[m->tensor.strides[0]] == part[1], "a view's tensor after its scope's end");
  s = chx_scope_begin(NULL);
  chx_array *b = chx_keep(chx_from_dlpack(s, m));
  chx_scope_end(s);
  ok(holds(b, 2, part), "imported, it is shared on");
  chx_release(b);

  s = chx_scope_begin(NULL);
  a = chx_from_shape(s, CHX_F64, 2, shape, v);
  m = chx_to_dlpack(s, a);
  chxi_dl_managed *second = chx_to_dlpack(s, a);
  m->deleter(m);
  ok(holds(a, 6, v), "one tensor of two ended: the array is there");
  chx_scope_rewind(s, 0, NULL);
  ok(((double *)second->tensor.data)[5] == 6, "the array gone: the other tensor is there");
  second->deleter(second);
  chx_scope_end(s);

  static const char *const devices[] = {"ref:0", "sim:0", "sample:0"};
  for (size_t i = 0; i < LENGTH(devices); i++) {
    s = chx_scope_begin(devices[i]);
    if (chx_scope_error(s)) {
      skip(1, devices[i]);
      chx_scope_end(s);
      continue;
    }
    a = chx_from_shape(s, CHX_F64, 2, shape, v);
    m = chx_to_dlpack(s, a);
    if (m) {
      chx_scope *native = chx_scope_begin(NULL);
      ok(holds(chx_from_dlpack(native, m), 6, v), "%s: exported and read on native", devices[i]);
      chx_scope_end(native);
    } else
      ok(chx_scope_error(s) == CHX_EUNSUPPORTED && strstr(chx_scope_message(s), devices[i]), "%s: %s", devices[i], chx_scope_message(s));
    chx_scope_end(s);
  }
}

/* ---- devices and addresses --------------------------------------------------------------------------------------------- */

static void test_devices(void)
{
  static const int64_t shape[] = {2, 3};
  static const double v[] = {1, 2, 3, 4, 5, 6};
  int number = 0, id = -1;
  chx_scope *s = chx_scope_begin(NULL);
  chx_array *a = chx_from_shape(s, CHX_F64, 2, shape, v);
  ok(!chx_dlpack_type(s, a, &number, &id) && number == 1 && id == 0, "native:0 is the CPU of DLPack");
  static const int host[] = {1, 3, 11};
  for (size_t i = 0; i < LENGTH(host); i++)
    is_str(chx_dlpack_device(s, host[i], 0), "native:0", "memory of the host's kinds is native's");
  ok(!chx_dlpack_device(s, 8, 0) && chx_scope_error(s) == CHX_EDEVICE && strstr(chx_scope_message(s), "Metal"), "%s",
     chx_scope_message(s));
  chx_scope_clear(s);
  const chx_array *const none[] = {NULL, chx_real(s, 1)};
  for (size_t i = 0; i < LENGTH(none); i++) {
    ok(chx_dlpack_type(s, none[i], &number, &id) == CHX_EARG, "no type: %s", chx_scope_message(s));
    chx_scope_clear(s);
    ok(!chx_host_address(s, none[i]) && chx_scope_error(s) == CHX_EARG, "no address: %s", chx_scope_message(s));
    chx_scope_clear(s);
  }
  double *p = chx_host_address(s, chx_at(s, a, 1, 1));
  ok(p && p[0] == 2 && p[3] == 5, "the address of a view's first element");
  p[3] = 9;
  ok(holds(a, 6, (const double[]){1, 2, 3, 4, 9, 6}), "what is written there is in the array");
  (void)chx_host_address(s, chx_empty(s, CHX_F64, 1, (int64_t[]){0}));
  ok(!chx_scope_error(s), "an array without elements is no error");
  chx_scope_end(s);
  s = chx_scope_begin("sim:0");
  if (chx_scope_error(s)) skip(1, "sim:0");
  else {
    a = chx_from_shape(s, CHX_F64, 2, shape, v);
    ok(!chx_host_address(s, a) && chx_scope_error(s) == CHX_EUNSUPPORTED && strstr(chx_scope_message(s), "sim:0"), "%s",
       chx_scope_message(s));
  }
  chx_scope_end(s);
}

int main(void)
{
  test_layout();
  test_import();
  test_refused();
  test_export();
  test_devices();
  return done_testing();
}
