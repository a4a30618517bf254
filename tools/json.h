/* SPDX-License-Identifier: MIT
 * json.h: writes one JSON value to a stream. Commas, escapes and numbers are its business; closing what was opened
 * is the caller's. Strings that are not UTF-8 get U+FFFD for each wrong byte; NaN and infinities become null.
 */
#ifndef CHX_JSON_H
#define CHX_JSON_H
#include <stdint.h>
#include <stdio.h>

typedef struct json {
  FILE *f;
  int depth, n; /* n: values so far at this depth */
} json;

json json_begin(FILE *f);
void json_end(json *j); /* ends the line */

/* Each takes the value's key, or NULL inside an array and at the top. */
void json_object(json *j, const char *key);
void json_object_end(json *j);
void json_array(json *j, const char *key);
void json_array_end(json *j);
void json_string(json *j, const char *key, const char *v); /* NULL: null */
void json_real(json *j, const char *key, double v);        /* the shortest text that reads back as v */
void json_whole(json *j, const char *key, int64_t v);
void json_bool(json *j, const char *key, int v);

#endif
