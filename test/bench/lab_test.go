// Package bench measures what docs/benchmarks.md shows: a device's boot and
// update in QEMU, and what building one takes. Each figure that depends on the
// machine is a ratio to something measured in the same run, in turns with it.
//
//	make bench                      all of it
//	make bench BENCH=Boot/amd64     one figure
//	MIOS_BENCH_RUNS=9 make bench    more repetitions than 5
package bench_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"mios"
	"mios/build/image"
	"mios/build/product"
	"mios/desk"
	"mios/publish/repo"
)

// patience bounds every wait: far above what anything takes on a busy machine.
const patience = 10 * time.Minute

// the is what the benchmarks share.
var the struct {
	dir  string
	desk *desk.Desk
	repo *repo.Repo
	root []byte // the root metadata that builds trust
}

func TestMain(m *testing.M) {
	if job := os.Getenv(assembleEnv); job != "" {
		if err := assemble(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	if f := flag.Lookup("test.bench"); f.Value.String() == "" {
		return // nothing else is here
	}
	dir, err := os.MkdirTemp("", "mios-bench-")
	if err == nil {
		the.dir = dir
		err = setup()
	}
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

func setup() (err error) {
	if os.Getenv(image.ProgramsEnv) == "" {
		bin := filepath.Join(the.dir, "bin")
		if out, err := exec.Command("make", "-C", "../..", "build", "BIN="+bin).CombinedOutput(); err != nil {
			return fmt.Errorf("make build: %w\n%s", err, out)
		}
		os.Setenv(image.ProgramsEnv, bin)
	}
	if the.desk, err = desk.Open(filepath.Join(the.dir, "desk"), "../../out/cache/debian"); err != nil {
		return err
	}
	if the.repo, err = the.desk.NewRepository(context.Background(), filepath.Join(the.dir, "repo"), "iot"); err != nil {
		return err
	}
	the.root, err = the.repo.RootMetadata(context.Background())
	return err
}

// runs returns how often a measurement is repeated.
func runs(b *testing.B) int {
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

// build returns the folder of a build of product iot, with its disk.
func build(b *testing.B, arch mios.Arch, version string, after int64) string {
	b.Helper()
	return buildChanged(b, arch, version, after, nil)
}

// buildChanged is build of a changed product; the version tells changes apart.
func buildChanged(b *testing.B, arch mios.Arch, version string, after int64, change func(*product.Product)) string {
	b.Helper()
	dir, _, err := the.desk.Build(b.Context(), desk.BuildSpec{
		Product: "../../products/iot/product.yaml", Arch: arch, Version: version, After: after, Root: the.root, Change: change,
	})
	if err != nil {
		b.Fatal(err)
	}
	disk := filepath.Join(dir, desk.DiskName)
	if _, err := os.Stat(disk); err != nil {
		if err := image.WriteDisk(b.Context(), dir, disk); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

// start boots a new device of a build, which ends with the benchmark.
func start(b *testing.B, cfg desk.DeviceConfig) *desk.Device {
	b.Helper()
	cfg.ADBKey = the.desk.ADBKey()
	d, err := desk.StartDevice(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close() })
	return d
}

// healthy waits until the device is, calls then, and connects adb to it.
func healthy(b *testing.B, d *desk.Device, then func()) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	if _, err := d.Healthy(ctx); err != nil {
		b.Fatal(err)
	}
	then()
	if err := d.ADB.Connect(ctx); err != nil {
		b.Fatal(err)
	}
}

// shell runs a command on the device, which must exit with status 0.
func shell(b *testing.B, d *desk.Device, command string) string {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	out, err := d.ADB.Shell(ctx, command)
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// A sample is one quantity in several runs.
type sample []time.Duration

func (s sample) median() time.Duration {
	t := slices.Sorted(slices.Values(s))
	return t[len(t)/2]
}

func (s sample) min() time.Duration { return slices.Min(s) }

// print prints rows below a title, in columns. It does not go through b.Log,
// which leaves out all but ten lines.
func print(title string, rows [][]string) {
	fmt.Println("\n" + title)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, "  "+strings.Join(r, "\t"))
	}
	w.Flush()
}

// seconds shows a time with two decimals.
func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
