// Package qemu boots the real thing: a product's images in QEMU, with a disk
// that loses what was not flushed, a repository served over HTTP, and Debian's
// adb. Tests get a device in one call, and wait for what it says or does, never
// for a fixed time.
package qemu_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mios"
	"mios/build/image"
	"mios/desk"
	"mios/internal/testkit"
	"mios/publish/repo"
	serverepo "mios/serve/repo"
)

// patience bounds every wait: far above what anything takes on a busy machine.
const patience = 10 * time.Minute

// productFile is what the devices of these tests are.
const productFile = "../../products/iot/product.yaml"

// the is what the tests share.
var the struct {
	desk *desk.Desk
	root []byte // the root metadata that builds trust
	err  error
	once sync.Once
	mu   sync.Mutex // builds run one at a time: two of one name would meet
}

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("qemu: skipped: -short")
		return
	}
	dir, err := os.MkdirTemp("", "mios-qemu-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := run(m, dir)
	os.RemoveAll(dir)
	os.Exit(code)
}

func run(m *testing.M, dir string) int {
	if os.Getenv(image.ProgramsEnv) == "" {
		bin := filepath.Join(dir, "bin")
		cmd := exec.Command("make", "-C", "../..", "build", "BIN="+bin)
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "make build: %v\n%s", err, out)
			return 1
		}
		os.Setenv(image.ProgramsEnv, bin)
	}
	the.desk, the.err = desk.Open(filepath.Join(dir, "desk"), "../../out/cache/debian")
	if the.err != nil {
		fmt.Fprintln(os.Stderr, the.err)
		return 1
	}
	r, err := the.desk.NewRepository(context.Background(), filepath.Join(dir, "repo"), "iot")
	if err == nil {
		the.root, err = r.RootMetadata(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build returns the folder of a build. Builds with the same version are made
// once; the spec's Product, Arch, Root and RollbackIndex have defaults.
func build(t *testing.T, s desk.BuildSpec) string {
	t.Helper()
	the.mu.Lock()
	defer the.mu.Unlock()
	if s.Product == "" {
		s.Product = productFile
	}
	if s.Arch == "" {
		s.Arch = mios.AMD64
	}
	if s.Root == nil {
		s.Root = the.root
	}
	if s.RollbackIndex == 0 {
		s.RollbackIndex = 1 // that there is an older one
	}
	dir, _, err := the.desk.Build(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// release1 and release2 are the builds that most tests want: what a device
// leaves the factory with, and a newer one.
func release1(t *testing.T) string { return build(t, desk.BuildSpec{Version: "1"}) }

func release2(t *testing.T) string {
	return build(t, desk.BuildSpec{Version: "2", After: manifest(t, release1(t)).BuildTime})
}

func manifest(t *testing.T, build string) *image.Manifest {
	t.Helper()
	m, err := image.ReadManifest(build)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A cloud is a repository of a test's own and the server in front of it.
type cloud struct {
	*repo.Repo
	*desk.Server
	mu   sync.Mutex
	wrap func(http.Handler) http.Handler
}

// newCloud sets up a repository with product iot, signed by the keys that all
// builds trust, and serves it.
func newCloud(t *testing.T) *cloud {
	t.Helper()
	r, err := the.desk.NewRepository(t.Context(), filepath.Join(t.TempDir(), "repo"), "iot")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, r)
}

// serve serves a repository.
func serve(t *testing.T, r *repo.Repo) *cloud {
	t.Helper()
	c := &cloud{Repo: r}
	var err error
	h := (&serverepo.Service{Repo: r, Log: slog.New(slog.DiscardHandler)}).Handler()
	c.Server, err = desk.Serve("127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c.mu.Lock()
		next := h
		if c.wrap != nil {
			next = c.wrap(h)
		}
		c.mu.Unlock()
		next.ServeHTTP(w, req)
	}), shortQueue)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Server.Close() })
	return c
}

// shortQueue keeps what was sent to a device and has not left this machine
// small, beside what tests count.
func shortQueue(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetWriteBuffer(64 << 10) // or the test finds more than it bears
	}
}

// tamper puts a handler in front of the repository; nil takes it away.
func (c *cloud) tamper(wrap func(http.Handler) http.Handler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrap = wrap
}

// publish publishes a build.
func (c *cloud) publish(t *testing.T, build string) {
	t.Helper()
	the.mu.Lock()
	defer the.mu.Unlock()
	if _, _, err := the.desk.Publish(t.Context(), c.Repo, build, nil); err != nil {
		t.Fatal(err)
	}
}

// A device is an emulated device with the test that it belongs to.
type device struct {
	*desk.Device
	t *testing.T
}

// boot starts a factory-new device of a build, and ends it with the test. Its
// console is printed if the test fails.
func boot(t *testing.T, build string, change func(*desk.DeviceConfig)) *device {
	t.Helper()
	cfg := desk.DeviceConfig{Build: build, Dir: t.TempDir(), ADBKey: the.desk.ADBKey()}
	if change != nil {
		change(&cfg)
	}
	var console testkit.Buffer
	if cfg.Console != nil {
		cfg.Console = io.MultiWriter(&console, cfg.Console)
	} else {
		cfg.Console = &console
	}
	the.mu.Lock() // the first device of a build makes its disk
	d, err := desk.StartDevice(t.Context(), cfg)
	the.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Close()
		if t.Failed() {
			t.Logf("console:\n%s", console.String())
		}
	})
	return &device{d, t}
}

// with returns a change that lets the device use a cloud.
func with(c *cloud) func(*desk.DeviceConfig) {
	return func(cfg *desk.DeviceConfig) { cfg.Repository = c.GuestURL() }
}

// healthy waits until a boot is found good, and adb is connected.
func (d *device) healthy() string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	line, err := d.Healthy(ctx)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := d.ADB.Connect(ctx); err != nil {
		d.t.Fatal(err)
	}
	return line
}

// shell runs a command on the device, which must exit with status 0.
func (d *device) shell(command string) string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	out, err := d.ADB.Shell(ctx, command)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

// state returns version, slot and health as the device tells them.
func (d *device) state() string {
	d.t.Helper()
	return d.shell("echo $(getprop ro.build.id) $(getprop ro.boot.slot_suffix) $(getprop sys.mios.health)")
}

// want checks what state says.
func (d *device) want(state string) {
	d.t.Helper()
	if got := d.state(); got != state {
		d.t.Errorf("version, slot and health are %q, want %q", got, state)
	}
}

// update asks the device to update itself, and returns what
// update_engine_client said and its status.
func (d *device) update() (said string, status int) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	for {
		r, err := d.ADB.Run(ctx, "shell", "update_engine_client --update")
		if err != nil {
			d.t.Fatal(err)
		}
		said = strings.TrimSpace(r.Stdout + r.Stderr)
		if !strings.Contains(said, "the updater is at work") { // with a look of its own
			return said, r.Code
		}
		d.shell("update_engine_client --follow || true")
	}
}

// offset returns where a partition begins on the device's disk, in bytes, and
// its size.
func (d *device) partition(name string) (off, size int64) {
	d.t.Helper()
	off, size, err := d.Partition(name)
	if err != nil {
		d.t.Fatal(err)
	}
	return off, size
}
