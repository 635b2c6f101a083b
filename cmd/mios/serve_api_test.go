package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios/format/apksig"
	"mios/internal/tool"
	"mios/publish/app/apptest"
)

// TestAPIDocument runs the commands of docs/api.md, one after the other, as a
// person would.
func TestAPIDocument(t *testing.T) {
	for _, name := range []string{"bash", "curl"} {
		if _, err := tool.Look(name); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	script, commands := "set -eu -o pipefail\ntrap 'kill $(jobs -p)' EXIT\n", 0
	for line := range strings.Lines(string(text)) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			script += strings.ReplaceAll(command, "127.0.0.1:8480", addr)
			commands++
		}
	}
	if commands < 10 {
		t.Fatalf("%d commands: the search is broken", commands)
	}
	// What it says moments later. The claim is published before the release is.
	script += `for i in $(seq 600); do mios repo status store/repo | grep 'app org.example.clock 1.1' >/dev/null && break; sleep 0.1; done
echo; echo PUBLISHED; curl -sf "$API/apps/org.example.clock" -H "Authorization: Bearer $REVIEWER"; mios repo status store/repo
`
	dir := t.TempDir()
	apk := apptest.APK{VersionCode: 1, Signers: []apksig.Signer{apptest.Signer(t)}}.Build(t)
	if err := os.WriteFile(filepath.Join(dir, "clock.apk"), apk, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir, cmd.WaitDelay = dir, 10*time.Second
	out, err := cmd.CombinedOutput()
	_, after, _ := strings.Cut(string(out), "\nPUBLISHED\n")
	if err != nil || !strings.Contains(after, `"claim": "published"`) || !strings.Contains(after, "app org.example.clock 1.1 (1)") || !strings.Contains(string(out), `"why": "It does ring."`) {
		t.Errorf("%v:\n%s", err, out)
	}
}
