/* SPDX-License-Identifier: MIT
 * status.c: the library's version and the sentences of its error codes.
 */
#include "internal.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

const char *chx_version(void)
{
  return TEXT(CHX_VERSION_MAJOR) "." TEXT(CHX_VERSION_MINOR) "." TEXT(CHX_VERSION_PATCH);
}

const char *chx_status_text(chx_status code)
{
  switch (code) {
#define CHX_ERR(ID, number, sentence) \
  case CHX_##ID: return sentence;
#include <chx/errors.def>
  default: return chx_status_text(CHX_EFAILED); /* as an unknown code is treated */
  }
}
