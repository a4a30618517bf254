dnl SPDX-License-Identifier: MIT
dnl chx.m4: our own macros for configure.ac.

dnl CHX_CFLAG(flag, [variable]): appends flag to the variable (CHX_CFLAGS) if the compiler takes it without a warning.
AC_DEFUN([CHX_CFLAG],[m4_pushdef([chx_V],[m4_default([$2],[CHX_CFLAGS])])
  AC_MSG_CHECKING([whether $CC takes $1])
  chx_s=$CFLAGS; CFLAGS="$CFLAGS -Werror $1"
  AC_COMPILE_IFELSE([AC_LANG_PROGRAM],[chx_r=yes; chx_V="$chx_V $1"],[chx_r=no])
  CFLAGS=$chx_s
  AC_MSG_RESULT([$chx_r])
  m4_popdef([chx_V])])

dnl CHX_SWITCH(name, what): --enable-name, off by default; sets enable_name to yes or no.
AC_DEFUN([CHX_SWITCH],[AC_ARG_ENABLE([$1],[AS_HELP_STRING([--enable-$1],[$2 @<:@no@:>@])],[],[enable_$1=no])])

dnl CHX_WITH(name, what): --with-name=auto|yes|no|DIR, DIR having include/ and lib/. Sets with_name to auto, yes or no,
dnl and chx_name_dir to DIR or nothing. A plugin without a library of its own (ref, sim) needs no more than this and
dnl CHX_FOUND; others go on with CHX_PROBE, or test by themselves and end with CHX_FOUND.
AC_DEFUN([CHX_WITH],[AC_ARG_WITH([$1],[AS_HELP_STRING([--with-$1=auto|yes|no|DIR],[$2 @<:@auto@:>@])],[],[with_$1=auto])
  chx_$1_dir=
  AS_CASE([$with_$1],
    [auto|yes|no],[],
    [AS_IF([test -d "$with_$1/include"],[],[AC_MSG_ERROR([--with-$1=$with_$1: there is no folder $with_$1/include])])
     chx_$1_dir=$with_$1
     with_$1=yes])])

dnl CHX_FOUND(name, have, why not): the end of each test. have is yes or no. Sets have_name, the conditional WITH_NAME and
dnl a line of the summary; --with-name=yes without it is an error.
AC_DEFUN([CHX_FOUND],[have_$1=$2
  chx_not="$3"
  AS_CASE([$with_$1-$have_$1],
    [no-*],[have_$1=no; chx_not="--with-$1=no"],
    [yes-no],[AC_MSG_ERROR([--with-$1 was asked for, but $chx_not])])
  AS_IF([test $have_$1 = yes],[chx_line=yes],[chx_line="no ($chx_not)"])
  chx_summary="$chx_summary
  m4_format([[%-12s]],[$1])$chx_line"
  AM_CONDITIONAL([WITH_]m4_toupper([$1]),[test $have_$1 = yes])])

dnl CHX_PROBE(name, header, library, function, [pkg-config module]): looks for a library in DIR, through pkg-config or where
dnl the compiler looks. Sets NAME_CPPFLAGS and NAME_LIBS, and does CHX_FOUND.
AC_DEFUN([CHX_PROBE],[m4_pushdef([chx_N],[m4_toupper([$1])])
  chx_have=no
  chx_N[]_CPPFLAGS=
  chx_N[]_LIBS="-l$3"
  chx_why="$4 of $2 was not found in lib$3"
  AS_IF([test -n "$chx_$1_dir"],
      [chx_d=$chx_$1_dir chx_i= chx_l= chx_why="$2 and lib$3 are not both in $chx_d" # never the system's in its place
       for chx_x in "$chx_d/include" "$chx_d"/include/*-linux-gnu; do
         test -f "$chx_x/$2" && chx_i=$chx_x && break
       done
       for chx_x in "$chx_d/lib" "$chx_d/lib64" "$chx_d"/lib/*-linux-gnu; do
         ls "$chx_x/lib$3".* >/dev/null 2>&1 && chx_l=$chx_x && break
       done
       AS_IF([test -z "$chx_i" || test -z "$chx_l"],[AC_MSG_ERROR([--with-$1: $chx_why])])
       chx_N[]_CPPFLAGS="-I$chx_i"
       chx_N[]_LIBS="-L$chx_l -Wl,-rpath,$chx_l -l$3"],
    [m4_ifval([$5],[test -n "$PKG_CONFIG" && $PKG_CONFIG --exists $5],[false])],
      [chx_N[]_CPPFLAGS=`$PKG_CONFIG --cflags $5`
       chx_N[]_LIBS=`$PKG_CONFIG --libs $5`])
  AS_IF([test $with_$1 != no],[
    chx_sc=$CPPFLAGS; chx_sl=$LIBS
    CPPFLAGS="$CPPFLAGS $chx_N[]_CPPFLAGS"
    LIBS="$chx_N[]_LIBS $LIBS"
    AC_MSG_CHECKING([for $4 in $2 and $chx_N[]_LIBS])
    AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <$2>]],[[void *volatile p = (void *)&$4; return !p;]])],[chx_have=yes])
    AC_MSG_RESULT([$chx_have])
    CPPFLAGS=$chx_sc; LIBS=$chx_sl])
  AS_IF([test $chx_have = no],[chx_N[]_CPPFLAGS= chx_N[]_LIBS=])
  AC_SUBST(chx_N[_CPPFLAGS])
  AC_SUBST(chx_N[_LIBS])
  CHX_FOUND([$1],[$chx_have],[$chx_why])
  m4_popdef([chx_N])])

dnl CHX_HEADER(name, header, [flags], [folders]): for a backend whose libraries are opened at run time: looks for the header alone,
dnl in DIR/include, where the compiler looks, and in the folders. Sets NAME_CPPFLAGS and does CHX_FOUND.
AC_DEFUN([CHX_HEADER],[m4_pushdef([chx_N],[m4_toupper([$1])])
  chx_have=no
  chx_N[]_CPPFLAGS=
  chx_sc=$CPPFLAGS
  AS_IF([test $with_$1 != no],
    [AC_MSG_CHECKING([for $2])
     AS_IF([test -n "$chx_$1_dir"],[chx_places="$chx_$1_dir/include"],[chx_places="none $4"])
     for chx_d in $chx_places; do
       chx_i=
       test $chx_d = none || chx_i="-isystem $chx_d"
       CPPFLAGS="$chx_sc $3 $chx_i"
       AC_PREPROC_IFELSE([AC_LANG_PROGRAM([[#include <$2>]])],[chx_have=yes chx_N[]_CPPFLAGS="$3 $chx_i"; break])
     done
     AC_MSG_RESULT([$chx_have])])
  CPPFLAGS=$chx_sc
  AC_SUBST(chx_N[_CPPFLAGS])
  CHX_FOUND([$1],[$chx_have],[$2 was not found])
  m4_popdef([chx_N])])

dnl CHX_PART(name, header, backend, what): --with-name for a library that a backend found by CHX_HEADER may use; its header is
dnl looked for in DIR/include and where the backend's are. Sets NAME_CPPFLAGS and does CHX_FOUND.
AC_DEFUN([CHX_PART],[m4_pushdef([chx_N],[m4_toupper([$1])])
  CHX_WITH([$1],[$4])
  chx_have=no
  chx_why="$2 was not found"
  chx_N[]_CPPFLAGS=
  AS_IF([test -n "$chx_$1_dir"],[chx_N[]_CPPFLAGS="-isystem $chx_$1_dir/include"])
  AS_IF([test $have_$3 = no],[chx_why="$3 is not built"],
    [test $with_$1 != no],
      [chx_sc=$CPPFLAGS
       CPPFLAGS="$CPPFLAGS $chx_N[]_CPPFLAGS $m4_toupper([$3])_CPPFLAGS"
       AC_MSG_CHECKING([for $2])
       AC_PREPROC_IFELSE([AC_LANG_PROGRAM([[#include <$2>]])],[chx_have=yes])
       AC_MSG_RESULT([$chx_have])
       CPPFLAGS=$chx_sc])
  AC_SUBST(chx_N[_CPPFLAGS])
  CHX_FOUND([$1],[$chx_have],[$chx_why])
  m4_popdef([chx_N])])
