// Package serve measures how fast mios serve gives files, against nginx on the
// same ones: two programs, asked in turns by clients that keep their
// connections.
//
//	make bench BENCH=Serve
package serve_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mios"
	"mios/build/image"
	"mios/internal/testkit"
	"mios/internal/tool"
	"mios/publish/repo"
	"mios/publish/repotest"
)

// rounds is how often each is asked, in turns.
func rounds(b *testing.B) int {
	s := os.Getenv("MIOS_BENCH_RUNS")
	if s == "" {
		return 5
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		b.Fatalf("MIOS_BENCH_RUNS=%s: want a number of 1 or more", s)
	}
	return n
}

// clients ask at once.
const clients = 16

func BenchmarkServe(b *testing.B) {
	nginx, err := tool.Look("nginx")
	if err != nil {
		b.Fatal(err)
	}
	r := repotest.New(b, repotest.Keys(b), "iot")
	put := func(size int) (name string) {
		body := make([]byte, size)
		rand.Read(body)
		name = "apps/" + mios.Sum(body).String() + ".bench.apk"
		if err := r.Tree().Create(b.Context(), name, bytes.NewReader(body)); err != nil {
			b.Fatal(err)
		}
		return name
	}
	small, middle, large := put(1<<10), put(1<<20), put(50<<20)
	ours, theirs := startMios(b, r), startNginx(b, nginx, filepath.Join(r.Dir(), repo.PublicDir))
	for _, c := range []struct {
		name, file, ranges string
		size               int // of an answer's body
		requests           int // of a round
		want               float64
	}{
		{"1KiB", small, "", 1 << 10, 40_000, 0.6},
		{"1KiB-range", middle, "bytes=4096-5119", 1 << 10, 40_000, 0.6},
		{"1KiB-range-of-small", small, "bytes=100-611", 512, 40_000, 0.6},
		{"50MiB", large, "", 50 << 20, 24, 1.0},
	} {
		b.Run(c.name, func(b *testing.B) {
			l := load{request: request(c.file, c.ranges), size: c.size, requests: c.requests}
			l.run(b, ours)
			l.run(b, theirs)
			var a, z []float64
			for range rounds(b) {
				a, z = append(a, l.run(b, ours)), append(z, l.run(b, theirs))
			}
			ratio := slices.Max(a) / slices.Max(z)
			b.ReportMetric(ratio, "ratio")
			b.ReportMetric(slices.Max(a), "mios-req/s")
			b.ReportMetric(slices.Max(z), "nginx-req/s")
			b.ReportMetric(0, "ns/op")
			fmt.Printf("%-20s mios %8.0f, nginx %8.0f requests a second: ratio %.2f, at least %.1f is wanted\n", c.name, slices.Max(a), slices.Max(z), ratio, c.want)
		})
	}
}

func startMios(b *testing.B, r *repo.Repo) (addr string) {
	b.Helper()
	dir := os.Getenv(image.ProgramsEnv)
	if dir == "" {
		dir = b.TempDir()
		if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "mios"), "mios/cmd/mios").CombinedOutput(); err != nil {
			b.Fatalf("go build: %v\n%s", err, out)
		}
	}
	var out testkit.Buffer
	start(b, &out, filepath.Join(dir, "mios"), "serve", "--repo", r.Dir(), "--addr", "127.0.0.1:0")
	line := out.Wait(b, "/\n")
	_, rest, _ := strings.Cut(line, "http://")
	addr, _, _ = strings.Cut(rest, "/")
	return addr
}

// startNginx starts Debian's nginx with Debian's settings for files, without a
// log of accesses, as ours has none.
func startNginx(b *testing.B, program, root string) (addr string) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	dir := b.TempDir()
	// Its workers are another user's.
	for d := dir; d != filepath.Dir(d) && strings.HasPrefix(d, os.TempDir()); d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	for d := root; d != filepath.Dir(d) && strings.HasPrefix(d, os.TempDir()); d = filepath.Dir(d) {
		if d != filepath.Clean(os.TempDir()) {
			os.Chmod(d, 0o755)
		}
	}
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; worker_processes auto; pid %[1]s/pid; error_log %[1]s/error.log;
events { worker_connections 768; }
http {
	sendfile on; tcp_nopush on; types_hash_max_size 2048; access_log off; keepalive_requests 10000000;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	server { listen %[2]s; root %[3]s; }
}
`, dir, addr, root)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
	var out testkit.Buffer
	start(b, &out, program, "-c", conf, "-e", filepath.Join(dir, "error.log"))
	for deadline := time.Now().Add(testkit.Patience); ; time.Sleep(10 * time.Millisecond) {
		res, err := http.Get("http://" + addr + "/")
		if err == nil {
			res.Body.Close()
			return addr
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			b.Fatalf("nginx does not start: %v\n%s\n%s", err, out.String(), log)
		}
	}
}

// start runs a program until the benchmark ends.
func start(b *testing.B, out io.Writer, program string, args ...string) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cancel(); cmd.Wait() })
}

func request(file, ranges string) []byte {
	s := "GET /" + file + " HTTP/1.1\r\nHost: localhost\r\n"
	if ranges != "" {
		s += "Range: " + ranges + "\r\n"
	}
	return []byte(s + "\r\n")
}

// A load is many requests for one thing.
type load struct {
	request  []byte
	size     int
	requests int
}

// run asks a server and returns how many requests it answered in a second.
func (l load) run(b *testing.B, addr string) float64 {
	b.Helper()
	begin := time.Now()
	var all sync.WaitGroup
	errs := make([]error, clients)
	each := max(l.requests/clients, 1)
	for i := range clients {
		all.Go(func() { errs[i] = l.client(addr, each) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			b.Fatal(err)
		}
	}
	return float64(each*clients) / time.Since(begin).Seconds()
}

// client asks n times over one connection. It looks at the head of the first
// answer, and takes the following ones to be as long.
func (l load) client(addr string, n int) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Minute)); err != nil {
		return err
	}
	in := bufio.NewReaderSize(c, 64<<10)
	for range n {
		if _, err := c.Write(l.request); err != nil {
			return err
		}
		if err := l.answer(in); err != nil {
			return err
		}
	}
	return nil
}

func (l load) answer(in *bufio.Reader) error {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.Contains(line, []byte(" 200 ")) && !bytes.Contains(line, []byte(" 206 ")) {
		return fmt.Errorf("it answers %q", line)
	}
	length := -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
				return err
			}
		}
	}
	if length != l.size {
		return fmt.Errorf("%d bytes, want %d", length, l.size)
	}
	_, err = in.Discard(length)
	return err
}
