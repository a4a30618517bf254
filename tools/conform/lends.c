/* SPDX-License-Identifier: MIT
 * lends.c: the part of group C2 that is about what a host lends: no options and no extensions at all, or options whose values
 * mean nothing. A plugin works without them, or says why it does not.
 */
#include "raw.h"
#include <string.h>

static const char *no_option(void *ctx, const char *key)
{
  (void)ctx, (void)key;
  return NULL;
}

static const void *no_extension(void *ctx, const char *name)
{
  (void)ctx, (void)name;
  return NULL;
}

static void nothing(conform *c, void *arg)
{
  static chx_host host;
  (void)arg;
  host = raw_host;
  host.option = no_option;
  host.extension = no_extension;
  raw_use_with(c, &host);
}

static char value[4096];
static const char *any_option(void *ctx, const char *key)
{
  (void)ctx;
  return key ? value : NULL;
}

static void junk(conform *c, void *arg)
{
  static const char *const values[] = {"", "-1", "no such thing", "18446744073709551616", "%s%n"};
  static chx_host host;
  (void)arg;
  host = raw_host;
  host.option = any_option;
  for (size_t i = 0; i <= sizeof values / sizeof *values && !c->failures; i++) {
    if (i < sizeof values / sizeof *values) strcpy(value, values[i]);
    else memset(value, 'x', sizeof value - 1);
    raw_use_with(c, &host); /* to refuse a value is right, and no reason to skip the others */
    c->skipped = false;
  }
}

void conform_lent_cases(conform *c, conform_list *l)
{
  (void)c;
  conform_add(l, "C2", "a host without options and extensions", nothing, NULL);
  conform_add(l, "C2", "options that mean nothing", junk, NULL);
}
