// Package flow tests whole paths that need no device, with the real programs:
// what a vendor types, from keys to files that a device would take, and what
// the documents tell people to type. The scripts are the manual, too.
package flow_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"mios"
	"mios/api"
	"mios/api/repo"
	"mios/build/image"
	"mios/device/fetch"
)

var update = flag.Bool("update", false, "rewrite what the scripts compare with")

// patience bounds waits: far above what anything takes on a busy machine.
const patience = 5 * time.Minute

// programs is the folder of the real programs: MIOS_PROGRAMS, or one that is
// built now.
func programs(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it builds a product")
	}
	if dir := os.Getenv(image.ProgramsEnv); dir != "" {
		return dir
	}
	dir := t.TempDir()
	if out, err := exec.Command("make", "-C", top(t), "build", "BIN="+dir).CombinedOutput(); err != nil {
		t.Fatalf("make build: %v\n%s", err, out)
	}
	return dir
}

// top is the folder of this repository.
func top(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestScript runs the scripts in this folder. Beside testscript's own commands
// they have:
//
//	serve DIR            runs mios serve on a free port, and sets $URL
//	fetch PATH FILE      gets $URL/PATH
//	offer ROOT VERSION   a device that trusts ROOT is offered VERSION at $URL;
//	                     its payload is in offer.bin. VERSION "none": it is not
func TestScript(t *testing.T) {
	bin, top := programs(t), top(t)
	testscript.Run(t, testscript.Params{
		Dir:                 ".",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"serve": serve, "fetch": fetchFile, "offer": offer,
		},
		Setup: func(e *testscript.Env) error {
			cache, err := exec.Command("go", "env", "GOCACHE").Output() // for what calls Go
			e.Setenv("GOCACHE", strings.TrimSpace(string(cache)))
			e.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			e.Setenv("TOP", top)
			e.Setenv("CACHE", filepath.Join(top, "out", "cache", "debian"))
			return err
		},
	})
}

// serve starts mios serve, and ends it with the script.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serve DIR")
	}
	ctx, stop := context.WithTimeout(context.Background(), patience)
	path := filepath.SplitList(ts.Getenv("PATH"))[0]
	cmd := exec.CommandContext(ctx, filepath.Join(path, "mios"), "serve", "--repo", args[0], "--addr", "127.0.0.1:0")
	cmd.Dir = ts.Getenv("WORK")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		stop()
		if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != 0 {
			ts.Logf("mios serve: %v: %s", err, stderr.String())
		}
	})
	var url string
	line := make([]byte, 4096)
	n, err := stdout.Read(line)
	ts.Check(err)
	if _, err := fmt.Sscanf(string(line[:n]), "serving "+args[0]+" at %s", &url); err != nil {
		ts.Fatalf("mios serve says %q: %v", line[:n], err)
	}
	ts.Setenv("URL", strings.TrimSuffix(url, "/"))
}

// fetchFile is what curl does.
func fetchFile(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: fetch PATH FILE")
	}
	resp, err := http.Get(ts.Getenv("URL") + "/" + args[0])
	ts.Check(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	ts.Check(err)
	if ok := resp.StatusCode == http.StatusOK; ok == neg {
		ts.Fatalf("GET %s: %s", args[0], resp.Status)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b, 0o644))
}

// offer asks the repository as a device does.
func offer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: offer ROOT VERSION")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	f := &fetch.Client{Mirrors: []string{ts.Getenv("URL")}}
	c, err := repo.Open(repo.Config{
		Dir: ts.MkAbs("device"), Root: []byte(ts.ReadFile(args[0])), Fetcher: f, Product: "iot", BuildTime: time.Unix(1_700_000_000, 0),
	})
	ts.Check(err)
	ts.Check(c.Refresh(ctx))
	rel, err := c.OSOffer(&api.Device{Arch: mios.AMD64, Channel: "stable", Regions: []string{"CN"}, BuildTime: 1_700_000_000}, "a-device", "")
	if args[1] == "none" {
		if err == nil {
			ts.Fatalf("the device is offered %s, want none", rel.Version)
		}
		ts.Logf("no offer: %v", err)
		return
	}
	ts.Check(err)
	if rel.Version != args[1] {
		ts.Fatalf("the device is offered %s, want %s", rel.Version, args[1])
	}
	b, err := f.Get(ctx, rel.Target.File(), rel.Target.Length)
	ts.Check(err)
	ts.Check(rel.Target.Check(b))
	ts.Check(os.WriteFile(ts.MkAbs("offer.bin"), b, 0o644))
}
