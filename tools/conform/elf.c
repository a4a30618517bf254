/* SPDX-License-Identifier: MIT
 * elf.c: group C0: what a plugin's file shows without being loaded.
 *
 * The file is a stranger's: every offset in it is checked before it is followed.
 */
#include "conform.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct image {
  const char *bytes;
  size_t n;
  const Elf64_Ehdr *head;
  const Elf64_Sym *sym;  /* the dynamic symbols */
  const Elf64_Dyn *dyn;
  size_t n_sym, n_dyn;
  const char *sym_names, *dyn_names;
  size_t sym_names_n, dyn_names_n;
} image;

/* n bytes at off, or NULL if the file does not have them there, aligned as tables are. */
static const void *bytes_at(const image *e, uint64_t off, uint64_t n)
{
  return off <= e->n && n <= e->n - off && off % 8 == 0 ? e->bytes + off : NULL;
}

static const char *name_at(const char *names, size_t n, uint64_t off)
{
  return names && off < n && memchr(names + off, 0, n - off) ? names + off : "";
}

static const Elf64_Shdr *section(const image *e, uint32_t i)
{
  const uint64_t n = sizeof(Elf64_Shdr);
  return i < e->head->e_shnum ? bytes_at(e, e->head->e_shoff + i * n, n) : NULL;
}

static const Elf64_Phdr *segment(const image *e, uint32_t i)
{
  const uint64_t n = sizeof(Elf64_Phdr);
  return i < e->head->e_phnum ? bytes_at(e, e->head->e_phoff + i * n, n) : NULL;
}

/* The strings of the section that sh links to. */
static const char *linked_names(const image *e, const Elf64_Shdr *sh, size_t *n)
{
  const Elf64_Shdr *names = section(e, sh->sh_link);
  if (!names || names->sh_offset > e->n || names->sh_size > e->n - names->sh_offset) return NULL;
  *n = names->sh_size;
  return e->bytes + names->sh_offset;
}

static void read_tables(image *e)
{
  const Elf64_Shdr *sh;
  for (uint32_t i = 0; (sh = section(e, i)); i++)
    if (sh->sh_type == SHT_DYNSYM && (e->sym = bytes_at(e, sh->sh_offset, sh->sh_size))) {
      e->n_sym = sh->sh_size / sizeof *e->sym;
      e->sym_names = linked_names(e, sh, &e->sym_names_n);
    } else if (sh->sh_type == SHT_DYNAMIC && (e->dyn = bytes_at(e, sh->sh_offset, sh->sh_size))) {
      e->n_dyn = sh->sh_size / sizeof *e->dyn;
      e->dyn_names = linked_names(e, sh, &e->dyn_names_n);
    }
}

#if defined __x86_64__
enum { OUR_MACHINE = EM_X86_64 };
#elif defined __aarch64__
enum { OUR_MACHINE = EM_AARCH64 };
#else
#error "elf.c: only 64-bit x86 and ARM are promised; want this machine's EM_ number here"
#endif

static const image *map_image(conform *c)
{
  static image e;
  struct stat st;
  if (e.dyn) return &e;
  int fd = open(c->file, O_RDONLY | O_CLOEXEC);
  if (!conform_check(c, fd >= 0 && !fstat(fd, &st), "%s: %s", c->file, strerror(errno))) return NULL;
  void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  close(fd);
  if (!conform_check(c, p != MAP_FAILED, "%s: %s", c->file, strerror(errno))) return NULL;
  e = (image){.bytes = p, .n = (size_t)st.st_size};
  e.head = bytes_at(&e, 0, sizeof *e.head);
  if (!conform_check(c, e.head && !memcmp(e.head->e_ident, ELFMAG, SELFMAG) && e.head->e_ident[EI_CLASS] == ELFCLASS64,
                     "it is no 64-bit ELF file"))
    return NULL;
  if (!conform_check(c, e.head->e_type == ET_DYN, "its ELF type is %d, want a shared library, %d", e.head->e_type,
                     ET_DYN) ||
      !conform_check(c, e.head->e_machine == OUR_MACHINE, "its machine is %d, this one is %d", e.head->e_machine,
                     OUR_MACHINE))
    return NULL;
  if (e.head->e_shentsize == sizeof(Elf64_Shdr)) read_tables(&e);
  if (!conform_check(c, e.sym && e.sym_names, "its table of dynamic symbols cannot be read") ||
      !conform_check(c, e.dyn && e.dyn_names, "its dynamic section cannot be read"))
    return NULL;
  return &e;
}

/* The file as an image; NULL, with a failed check, if it is no library for this machine. It stays mapped. */
static const image *open_image(conform *c)
{
  const image *e = map_image(c);
  conform_check(c, e != NULL, "it is no library for this machine");
  return e;
}

static const char *sym_name(const image *e, const Elf64_Sym *s)
{
  return name_at(e->sym_names, e->sym_names_n, s->st_name);
}

/* ---- cases ------------------------------------------------------------------------------------------------------- */

static void library(conform *c, void *arg)
{
  (void)arg;
  open_image(c);
}

/* A later ABI may stand beside this one; some linkers add marks of their own. */
static bool may_be_exported(const char *name)
{
  static const char *const linkers[] = {"_init", "_fini", "_edata", "_end", "__bss_start"};
  for (size_t i = 0; i < sizeof linkers / sizeof *linkers; i++)
    if (!strcmp(name, linkers[i])) return true;
  return !fnmatch("chx_plugin_v[0-9]*", name, 0);
}

static void exports(conform *c, void *arg)
{
  const image *e = open_image(c);
  bool entry = false;
  (void)arg;
  for (size_t i = 1; e && i < e->n_sym; i++) {
    const Elf64_Sym *s = &e->sym[i];
    int bind = ELF64_ST_BIND(s->st_info), seen = ELF64_ST_VISIBILITY(s->st_other);
    if (s->st_shndx == SHN_UNDEF || s->st_shndx == SHN_ABS || bind == STB_LOCAL || seen == STV_HIDDEN ||
        seen == STV_INTERNAL)
      continue;
    entry |= !strcmp(sym_name(e, s), CHX_ENTRY);
    conform_check(c, may_be_exported(sym_name(e, s)),
                  "it exports '%s', want " CHX_ENTRY " alone (-fvisibility=hidden, or a version script)",
                  sym_name(e, s));
  }
  if (e) conform_check(c, entry, "it does not export " CHX_ENTRY);
}

static void undefined(conform *c, void *arg)
{
  const image *e = open_image(c);
  (void)arg;
  for (size_t i = 1; e && i < e->n_sym; i++)
    if (e->sym[i].st_shndx == SHN_UNDEF)
      conform_check(c, strncmp(sym_name(e, &e->sym[i]), "chx", 3),
                    "it wants the symbol '%s' of its host, and what a plugin may call is in chx_host alone",
                    sym_name(e, &e->sym[i]));
}

static void links(conform *c, void *arg)
{
  const image *e = open_image(c);
  (void)arg;
  for (size_t i = 0; e && i < e->n_dyn && e->dyn[i].d_tag != DT_NULL; i++)
    if (e->dyn[i].d_tag == DT_NEEDED) {
      const char *needed = name_at(e->dyn_names, e->dyn_names_n, e->dyn[i].d_un.d_val);
      conform_check(c, strncmp(needed, "libchx", 6), "it is linked to %s, which is no part of the contract", needed);
    }
}

static void unique(conform *c, void *arg)
{
  const image *e = open_image(c);
  (void)arg;
  for (size_t i = 1; e && i < e->n_sym; i++)
    conform_check(c, ELF64_ST_BIND(e->sym[i].st_info) != STB_GNU_UNIQUE || e->sym[i].st_shndx == SHN_UNDEF,
                  "its symbol '%s' is unique in a process (STB_GNU_UNIQUE), so two plugins would share it: build with "
                  "-fno-gnu-unique", sym_name(e, &e->sym[i]));
}

static void text_relocations(conform *c, void *arg)
{
  const image *e = open_image(c);
  (void)arg;
  for (size_t i = 0; e && i < e->n_dyn && e->dyn[i].d_tag != DT_NULL; i++) {
    const Elf64_Dyn *d = &e->dyn[i];
    conform_check(c, d->d_tag != DT_TEXTREL && !(d->d_tag == DT_FLAGS && (d->d_un.d_val & DF_TEXTREL)),
                  "its code is relocated when it is loaded (DT_TEXTREL): build with -fPIC");
  }
}

static void stack(conform *c, void *arg)
{
  const image *e = open_image(c);
  const Elf64_Phdr *ph;
  bool said = false;
  (void)arg;
  for (uint32_t i = 0; e && (ph = segment(e, i)); i++)
    if (ph->p_type == PT_GNU_STACK) {
      said = true;
      conform_check(c, !(ph->p_flags & PF_X), "it wants an executable stack: link with -z noexecstack");
    }
  if (e) conform_check(c, said, "it does not say that its stack need not be executable (PT_GNU_STACK)");
}

#if defined __has_feature
#define HAS(feature) __has_feature(feature)
#else
#define HAS(feature) 0
#endif
#if defined __SANITIZE_ADDRESS__ || HAS(address_sanitizer)
enum { WE_HAVE_ASAN = 1 };
#else
enum { WE_HAVE_ASAN = 0 };
#endif
#if defined __SANITIZE_THREAD__ || HAS(thread_sanitizer)
enum { WE_HAVE_TSAN = 1 };
#else
enum { WE_HAVE_TSAN = 0 };
#endif

static void sanitizers(conform *c, void *arg)
{
  static const struct { const char *symbol, *name; int ours; } kinds[] = {
    {"__asan_init", "address", WE_HAVE_ASAN}, {"__tsan_init", "thread", WE_HAVE_TSAN}};
  const image *e = open_image(c);
  (void)arg;
  for (size_t i = 1; e && i < e->n_sym; i++)
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
      conform_check(c, kinds[k].ours || strcmp(sym_name(e, &e->sym[i]), kinds[k].symbol),
                    "it was built with the %s sanitizer, and this program was not, so it cannot be loaded",
                    kinds[k].name);
}

void conform_static_cases(conform *c, conform_list *l)
{
  (void)c;
  conform_add(l, "C0", "a shared library for this machine", library, NULL);
  conform_add(l, "C0", "exports the entry alone", exports, NULL);
  conform_add(l, "C0", "no undefined symbol of chx", undefined, NULL);
  conform_add(l, "C0", "not linked to libchx", links, NULL);
  conform_add(l, "C0", "no unique symbols", unique, NULL);
  conform_add(l, "C0", "no text relocations", text_relocations, NULL);
  conform_add(l, "C0", "no executable stack", stack, NULL);
  conform_add(l, "C0", "no sanitizer that the host lacks", sanitizers, NULL);
}
