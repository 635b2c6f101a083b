package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"mios/build/sign/signtest"
	"mios/internal/tool"
)

var update = flag.Bool("update", false, "rewrite what the scripts compare with")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mios": main})
}

// TestScript runs testdata/script/*.txtar: each is what a person would type,
// and what they would see.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"targetfiles": targetFiles(t), "apk": makeAPK(t), "need": need},
		Setup: func(e *testscript.Env) error { // for what calls Go
			cache, err := exec.Command("go", "env", "GOCACHE").Output()
			e.Setenv("GOCACHE", strings.TrimSpace(string(cache)))
			bin, _, _ := strings.Cut(e.Getenv("PATH"), string(filepath.ListSeparator))
			e.Setenv("ONLYMIOS", bin) // a PATH with nothing else on it
			return err
		},
	})
}

// need is the command "need PROGRAM...", which says what to install where one of
// other people's programs is missing.
func need(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		_, err := tool.Look(name)
		ts.Check(err)
	}
}

// targetFiles is the command "targetfiles NAME", which puts a build of AOSP there:
// a zip if the name ends in .zip, else a folder.
func targetFiles(t *testing.T) func(*testscript.TestScript, bool, []string) {
	build := sync.OnceValue(func() *signtest.Target { return signtest.New(t, signtest.Options{}) })
	pack := sync.OnceValue(func() string { return build().Zip(t) })
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: targetfiles NAME")
		}
		from, to := "", ts.MkAbs(args[0])
		if from = build().Dir; strings.HasSuffix(to, ".zip") {
			from = pack()
		}
		ts.Check(os.Symlink(from, to))
	}
}
