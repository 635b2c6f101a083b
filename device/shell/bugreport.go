package shell

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// bugreportVersion is what adb takes to mean that -p shows progress.
	bugreportVersion = "1.1"
	bugreportsKept   = 3
	sectionTime      = 30 * time.Second
	sectionSize      = 16 << 20 // bytes
)

// sections are what a bug report holds: each is what a command prints, which
// need not be there on every device.
var sections = []struct {
	name string
	argv []string
}{
	{"getprop.txt", []string{"getprop"}},
	{"logcat.txt", []string{"logcat", "-d", "-b", "all", "-v", "threadtime"}},
	{"dmesg.txt", []string{"dmesg"}},
	{"ps.txt", []string{"ps", "-A", "-f"}},
	{"top.txt", []string{"top", "-b", "-n", "1"}},
	{"free.txt", []string{"free"}},
	{"mount.txt", []string{"mount"}},
	{"df.txt", []string{"df"}},
	{"lsmod.txt", []string{"lsmod"}},
	{"uname.txt", []string{"uname", "-a"}},
	{"uptime.txt", []string{"uptime"}},
	{"ip_addr.txt", []string{"ip", "addr"}},
	{"ip_route.txt", []string{"ip", "route"}},
	{"cmdline.txt", []string{"cat", "/proc/cmdline"}},
	{"meminfo.txt", []string{"cat", "/proc/meminfo"}},
	{"device.json", []string{"cat", "/system/etc/mios/device.json"}},
	{"boot_record.txt", []string{"bootrecord"}},
	{"update_engine.txt", []string{"update_engine_client", "--status"}},
	{"packages.txt", []string{"pm", "list", "packages"}},
}

// bugreport prints the whole report as text, for hosts that know no better.
func bugreport(ctx context.Context, e *Env, args []string) error {
	for _, s := range sections {
		fmt.Fprintf(e.Stdout, "------ %s %q ------\n", s.name, s.argv)
		if err := section(ctx, e, s.argv, e.Stdout); err != nil {
			return err
		}
		fmt.Fprintln(e.Stdout)
	}
	return nil
}

// bugreportz writes the report to a zip file and prints its path, in the form
// that adb bugreport reads.
//
// AOSP: frameworks/native/cmds/bugreportz/readme.md.
func bugreportz(ctx context.Context, e *Env, args []string) error {
	o, _, err := parseOptions(args, "vpsh")
	if err != nil {
		return err
	}
	if o.has('v') {
		fmt.Fprintln(e.Stderr, bugreportVersion)
		return nil
	}
	dir := e.Path(filepath.Join(e.Getenv("ANDROID_DATA", "/data"), "bugreports"))
	name := filepath.Join(dir, "bugreport-"+time.Now().UTC().Format("2006-01-02-15-04-05")+".zip")
	progress := func(done int) {
		if o.has('p') {
			fmt.Fprintf(e.Stdout, "PROGRESS:%d/%d\n", done, len(sections))
		}
	}
	if o.has('p') {
		fmt.Fprintf(e.Stdout, "BEGIN:%s\n", name)
	}
	if err := writeReport(ctx, e, dir, name, progress); err != nil {
		fmt.Fprintf(e.Stdout, "FAIL:%v\n", err)
		return exitStatus(1)
	}
	_, err = fmt.Fprintf(e.Stdout, "OK:%s\n", name)
	return err
}

func writeReport(ctx context.Context, e *Env, dir, name string, progress func(int)) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := forgetReports(dir); err != nil {
		return err
	}
	f, err := os.OpenFile(name+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(name + ".tmp")
	defer f.Close()
	z := zip.NewWriter(f)
	for i, s := range sections {
		w, err := z.CreateHeader(&zip.FileHeader{Name: s.name, Method: zip.Deflate, Modified: time.Now()})
		if err == nil {
			err = section(ctx, e, s.argv, w)
		}
		if err != nil {
			return err
		}
		progress(i + 1)
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		return err
	}
	return os.Rename(name+".tmp", name)
}

// forgetReports removes the oldest reports, so that one more makes bugreportsKept.
func forgetReports(dir string) error {
	old, err := filepath.Glob(filepath.Join(dir, "bugreport-*.zip*"))
	if err != nil {
		return err
	}
	slices.Sort(old)
	for len(old) >= bugreportsKept {
		if err := os.Remove(old[0]); err != nil {
			return err
		}
		old = old[1:]
	}
	return nil
}

// section writes what a command prints, on both its streams, and how it ended
// where that was badly. Its error is the writer's, or ctx's.
func section(ctx context.Context, e *Env, argv []string, w io.Writer) error {
	limited, cancel := context.WithTimeout(ctx, sectionTime)
	defer cancel()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	out := &cutWriter{w: w, left: sectionSize}
	with := &Env{Stdin: null, Stdout: out, Stderr: out, Dir: e.Dir, Vars: e.Vars}
	if status := runCommand(limited, with, argv, nil); status != 0 && out.err == nil {
		fmt.Fprintf(w, "(exit status %d)\n", status)
	}
	if out.err != nil {
		return out.err
	}
	return ctx.Err()
}

// A cutWriter drops what goes beyond its room.
type cutWriter struct {
	w    io.Writer
	left int
	err  error
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n := min(len(p), c.left)
	c.left -= n
	if _, c.err = c.w.Write(p[:n]); c.err != nil {
		return 0, c.err
	}
	return len(p), nil
}
