package main

import (
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"mios/format/apksig"
	"mios/publish/app/apptest"
)

// makeAPK is the command "apk FILE VERSION SIGNER [PACKAGE [LABEL]]", which makes
// a small package signed by a key of that name.
func makeAPK(t *testing.T) func(*testscript.TestScript, bool, []string) {
	var mu sync.Mutex
	signers := map[string]apksig.Signer{}
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 3 || len(args) > 5 {
			ts.Fatalf("usage: apk FILE VERSION SIGNER [PACKAGE [LABEL]]")
		}
		version, err := strconv.Atoi(args[1])
		ts.Check(err)
		mu.Lock()
		defer mu.Unlock()
		if _, ok := signers[args[2]]; !ok {
			signers[args[2]] = apptest.Signer(t)
		}
		a := apptest.APK{VersionCode: version, Signers: []apksig.Signer{signers[args[2]]}}
		for i, to := range []*string{&a.Package, &a.Label} {
			if len(args) > 3+i {
				*to = args[3+i]
			}
		}
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), a.Build(t), 0o644))
	}
}
