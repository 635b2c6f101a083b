package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"mios/format/apksig"
	"mios/publish/app/apptest"
)

// makeAPK is the command "apk FILE VERSION SIGNER [PACKAGE [LABEL [ATTRIBUTES]]]", which makes
// a small package signed by a key of that name.
func makeAPK(t *testing.T) func(*testscript.TestScript, bool, []string) {
	var mu sync.Mutex
	signers := map[string]apksig.Signer{}
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 3 || len(args) > 6 {
			ts.Fatalf("usage: apk FILE VERSION SIGNER [PACKAGE [LABEL [ATTRIBUTES]]]")
		}
		version, err := strconv.Atoi(args[1])
		ts.Check(err)
		mu.Lock()
		defer mu.Unlock()
		if _, ok := signers[args[2]]; !ok {
			signers[args[2]] = apptest.Signer(t)
		}
		a := apptest.APK{VersionCode: version, Signers: []apksig.Signer{signers[args[2]]}}
		for i, to := range []*string{&a.Package, &a.Label, &a.Application} {
			if len(args) > 3+i {
				*to = args[3+i]
			}
		}
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), a.Build(t), 0o644))
	}
}

// until calls end once what is written has the word.
type until struct {
	word string
	end  func()
	all  bytes.Buffer
}

func (u *until) Write(b []byte) (int, error) {
	u.all.Write(b)
	if strings.Contains(u.all.String(), u.word) {
		u.end()
	}
	return len(b), nil
}

// TestReleaseInterrupted says that a release is out where only its deltas are
// not made, which a halt does not wait for.
func TestReleaseInterrupted(t *testing.T) {
	dir, signer := t.TempDir(), apptest.Signer(t)
	t.Chdir(dir)
	mios := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("mios", args...).CombinedOutput(); err != nil {
			t.Fatalf("mios %q: %v\n%s", args, err, out)
		}
	}
	mios("keys", "init", "--dev", "--roles", "root,targets,os,claims,apps,rollout,snapshot,timestamp", "keys")
	mios("store", "init", "--app-bits", "1")
	for i, name := range []string{"1.apk", "2.apk"} {
		a := apptest.APK{VersionCode: i + 1, Signers: []apksig.Signer{signer}}
		if err := os.WriteFile(filepath.Join(dir, name), a.Build(t), 0o644); err != nil {
			t.Fatal(err)
		}
		mios("store", "submit", "--as", "ada", "--approve", name)
	}
	mios("store", "release", "--share", "100", "1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stderr bytes.Buffer
	stdout := &until{word: "published", end: cancel}
	code := run(ctx, env{stdin: strings.NewReader(""), stdout: stdout, stderr: &stderr}, []string{"store", "release", "--share", "100", "2"})
	if code != 130 || !strings.Contains(stderr.String(), "it is published, without all deltas: mios store compile goes on") {
		t.Fatalf("status %d, %s%s", code, &stdout.all, &stderr)
	}
	out, err := exec.Command("mios", "store", "halt", "org.example.clock").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "published org.example.clock") || strings.Contains(string(out), "compare") {
		t.Errorf("mios store halt: %v, %s: want it published, and no deltas made before it ends", err, out)
	}
	mios("store", "compile")
	out, err = exec.Command("mios", "store", "status").Output()
	if err != nil || strings.Contains(string(out), "mios store compile") {
		t.Errorf("after mios store compile: %v, %s", err, out)
	}
	a := apptest.APK{VersionCode: 3, Signers: []apksig.Signer{signer}}
	if err := os.WriteFile("3.apk", a.Build(t), 0o644); err != nil {
		t.Fatal(err)
	}
	mios("store", "submit", "--as", "ada", "--approve", "3.apk")
	out, err = exec.Command("mios", "store", "release", "--no-wait", "--share", "100", "3").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "published org.example.clock") || !strings.Contains(string(out), "deltas follow: mios serve --store makes them, or mios store compile") {
		t.Errorf("mios store release --no-wait: %v, %s: want it published, and who makes the deltas", err, out)
	}
	if out, err = exec.Command("mios", "store", "status", "--json").Output(); err != nil || !strings.Contains(string(out), `"delta": 1`) {
		t.Errorf("after it: %v, %s: want deltas to make", err, out)
	}
}

// TestGoodUntil tells of freshness that is over, or nearly so, what to do.
func TestGoodUntil(t *testing.T) {
	for _, tt := range []struct {
		left time.Duration
		want string
	}{
		{23 * time.Hour, `^good until \S+ \S+ UTC$`},
		{time.Hour, `^good until \S+ \S+ UTC only: sign it again with mios x$`},
		{-time.Second, `^EXPIRED on \S+ \S+ UTC: devices install nothing: sign it again with mios x$`},
	} {
		if got := goodUntil(time.Now().Add(tt.left), "mios x"); !regexp.MustCompile(tt.want).MatchString(got) {
			t.Errorf("goodUntil(%v) = %q, want %s", tt.left, got, tt.want)
		}
	}
}
