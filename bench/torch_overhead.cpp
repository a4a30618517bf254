/* SPDX-License-Identifier: MIT
 * torch_overhead.cpp: the cases of tools/overhead.c through PyTorch's C++ library, on the CPU with one thread.
 *
 * The same operands and the same sampling: a case is a loop of about a millisecond around the call alone, its result is
 * dropped at the end of the loop's body, samples of all cases are taken in turn. Plain cases run under NoGradGuard with
 * operands that require no gradient; of the recorded ones one operand requires it. "inference" cases have operands and
 * calls under InferenceMode, whose results can never enter a graph: no goal is set beside it, but it is PyTorch's best.
 *
 * The training step is in PyTorch's functional form, on leaf tensors: no modules, no optimizer object. It is there
 * twice: "mlp_step" updates by the one call p.sub_(grad, lr), the fastest that PyTorch has without a graph;
 * "mlp_step_two_calls" by p -= lr * grad, as it is mostly written.
 *
 * Prints one JSON object a line: first {"torch", "threads"}, then {"op", "mode", "ns", "ns_min"} of each case, mode
 * being "plain", "recorded" or "inference".
 */
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <c10/core/InferenceMode.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <torch/headeronly/version.h>
#include <vector>

namespace {

constexpr double sample_ns = 1e6;
constexpr double lr = 0.01;

struct bench_case {
  const char *op, *mode;
  std::function<void(long)> loop;
  long calls = 0;
  std::vector<double> samples;
};

double now_ns()
{
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double run_ns(bench_case &c, long n)
{
  double start = now_ns();
  c.loop(n);
  return now_ns() - start;
}

void calibrate(bench_case &c)
{
  double ns = 0;
  long n = 16;

  run_ns(c, n);
  for (; ns < sample_ns / 4 && n < 1 << 20; n *= 2)
    ns = run_ns(c, n);
  c.calls = 1 + static_cast<long>(sample_ns / (ns / (n / 2)));
}

/* A loop of its own for each call, so that nothing indirect is inside of it. */
template <class F> std::function<void(long)> plain(F call)
{
  return [call](long n) {
    at::NoGradGuard off;
    for (long i = 0; i < n; i++)
      call();
  };
}

template <class F> std::function<void(long)> inference(F call)
{
  return [call](long n) {
    c10::InferenceMode on;
    for (long i = 0; i < n; i++)
      call();
  };
}

template <class F> std::function<void(long)> recorded(F call)
{
  return [call](long n) {
    for (long i = 0; i < n; i++)
      call();
  };
}

struct mlp {
  at::Tensor x = at::randn({32, 64});
  at::Tensor t = at::remainder(at::arange(32, at::kLong), 10);
  at::Tensor w1 = leaf(at::randn({32, 64}) * 0.125), b1 = leaf(at::zeros({32}));
  at::Tensor w2 = leaf(at::randn({10, 32}) * 0.177), b2 = leaf(at::zeros({10}));

  static at::Tensor leaf(at::Tensor a)
  {
    return a.detach().set_requires_grad(true);
  }

  template <class Update> void step(Update update)
  {
    at::Tensor h = at::relu(at::linear(x, w1, b1));
    at::cross_entropy_loss(at::linear(h, w2, b2), t).backward();
    at::NoGradGuard off;
    for (at::Tensor *p : {&w1, &b1, &w2, &b2}) {
      update(*p, p->grad());
      p->mutable_grad().reset();
    }
  }
};

double quantile(std::vector<double> v, double q)
{
  std::sort(v.begin(), v.end());
  double at = q * static_cast<double>(v.size() - 1);
  size_t i = static_cast<size_t>(at);
  return i + 1 < v.size() ? v[i] + (at - static_cast<double>(i)) * (v[i + 1] - v[i]) : v.back();
}

} // namespace

int main(int argc, char **argv)
{
  int repeat = argc > 1 ? std::atoi(argv[1]) : 51;

  if (repeat < 1) {
    std::fprintf(stderr, "torch_overhead [samples of each case]: '%s', want 1 or more\n", argv[1]);
    return 2;
  }
  at::set_num_threads(1);
  at::manual_seed(0);

  const float numbers[16] = {0.5f, -1, 0.25f, 2, 1, 0, -0.5f, 0.75f, 0.1f, 0.2f, -0.3f, 0.4f, 1, -1, 1, -1};
  at::Tensor m = at::empty({4, 4});
  std::copy_n(numbers, 16, m.data_ptr<float>());
  at::Tensor v = m.flatten().slice(0, 0, 4).clone();
  at::Tensor gv = v.clone().set_requires_grad(true), gm = m.clone().set_requires_grad(true);
  at::Tensor iv, im;
  {
    c10::InferenceMode on;
    iv = v.clone();
    im = m.clone();
  }
  mlp one, two;
  auto one_call = [](at::Tensor &p, const at::Tensor &g) { p.sub_(g, lr); };
  auto two_calls = [](at::Tensor &p, const at::Tensor &g) { p -= lr * g; };

  std::vector<bench_case> cases = {
    {"add", "plain", plain([&] { return at::add(v, v); })},
    {"add", "recorded", recorded([&] { return at::add(gv, v); })},
    {"tanh", "plain", plain([&] { return at::tanh(v); })},
    {"tanh", "recorded", recorded([&] { return at::tanh(gv); })},
    {"matmul", "plain", plain([&] { return at::matmul(m, m); })},
    {"matmul", "recorded", recorded([&] { return at::matmul(gm, m); })},
    {"sum", "plain", plain([&] { return at::sum(v); })},
    {"sum", "recorded", recorded([&] { return at::sum(gv); })},
    {"reshape", "plain", plain([&] { return at::reshape(v, {2, 2}); })},
    {"reshape", "recorded", recorded([&] { return at::reshape(gv, {2, 2}); })},
    {"mlp_step", "recorded", recorded([&] { one.step(one_call); })},
    {"mlp_step_two_calls", "recorded", recorded([&] { two.step(two_calls); })},
    {"add", "inference", inference([&] { return at::add(iv, iv); })},
    {"tanh", "inference", inference([&] { return at::tanh(iv); })},
    {"matmul", "inference", inference([&] { return at::matmul(im, im); })},
    {"sum", "inference", inference([&] { return at::sum(iv); })},
    {"reshape", "inference", inference([&] { return at::reshape(iv, {2, 2}); })},
  };

  for (bench_case &c : cases)
    calibrate(c);
  for (int r = 0; r < repeat; r++)
    for (bench_case &c : cases)
      c.samples.push_back(run_ns(c, c.calls) / static_cast<double>(c.calls));

  std::printf("{\"torch\": \"%s\", \"threads\": %d}\n", TORCH_VERSION, at::get_num_threads());
  for (const bench_case &c : cases)
    std::printf("{\"op\": \"%s\", \"mode\": \"%s\", \"ns\": %.2f, \"ns_min\": %.2f}\n", c.op, c.mode,
                quantile(c.samples, 0.5), quantile(c.samples, 0));
  return 0;
}
