package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mios/format/apksig"
	"mios/internal/testkit"
	"mios/publish/app"
	"mios/publish/app/apptest"
	"mios/publish/app/history"
	"mios/storage"
)

// A pair is two processes that serve one store.
type pair struct {
	*testing.T
	addrs     [2]string
	ada, rex  string // secrets
	requests  atomic.Int64
	retries   atomic.Int64
	succeeded chan struct{} // one for each release
}

// mios runs a command and returns what it prints.
func (p *pair) mios(args ...string) string {
	p.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(p.Context(), "mios", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		p.Fatalf("mios %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// serve starts a process that serves, and returns its address.
func (p *pair) serve(log io.Writer, args ...string) (*exec.Cmd, string) {
	p.Helper()
	var out testkit.Buffer
	cmd := exec.Command("mios", append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, log
	if err := cmd.Start(); err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	_, rest, _ := strings.Cut(out.Wait(p.T, "/\n"), "http://")
	addr, _, _ := strings.Cut(rest, "/")
	return cmd, addr
}

// store makes keys and an empty store on PostgreSQL and S3, and returns its folder
// and the URL of its records.
func (p *pair) store() (dir, records string) {
	p.Helper()
	records, files := testkit.Postgres(p.T), testkit.S3(p.T)
	sub := func(name string) string { return strings.Replace(files, "?", "/"+name+"?", 1) }
	keys, dir := filepath.Join(p.TempDir(), "keys"), filepath.Join(p.TempDir(), "store")
	p.mios("keys", "init", "--dev", "--roles", "root,targets,os,claims,apps,rollout,snapshot,timestamp", keys)
	p.mios("store", "init", "--store", dir, "--keys", keys, "--app-bits", "1", "--records", records, "--blobs", sub("blobs"), "--tree", sub("tree"))
	return dir, records
}

// ask sends a request to one process and, if that fails, once more to the other.
func (p *pair) ask(n int, method, path, secret, kind string, body []byte, header ...string) (*http.Response, []byte, error) {
	var why error
	for try := range 2 {
		p.requests.Add(1)
		req, err := http.NewRequestWithContext(p.Context(), method, "http://"+p.addrs[(n+try)%2]+path, bytes.NewReader(body))
		if err != nil {
			return nil, nil, err
		}
		req.Header.Set("Authorization", "Bearer "+secret)
		if kind != "" {
			req.Header.Set("Content-Type", kind)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			var b []byte
			b, err = io.ReadAll(res.Body)
			res.Body.Close()
			if err == nil && res.StatusCode < 300 {
				return res, b, nil
			}
			if err == nil {
				err = fmt.Errorf("%s: %s", res.Status, b)
			}
		}
		why = errors.Join(why, fmt.Errorf("%s %s at process %d: %w", method, path, (n+try)%2+1, err))
		p.retries.Add(1)
	}
	return nil, nil, why
}

// publish takes a version from its upload to its release, each request to
// another process than the one before.
func (p *pair) publish(pkg string, version int, apk []byte) error {
	n := version
	res, _, err := p.ask(n, "POST", "/api/v1/uploads", p.ada, "application/offset+octet-stream", apk, "Tus-Resumable", "1.0.0",
		"Upload-Length", fmt.Sprint(len(apk)), "Upload-Metadata", "filename "+base64.StdEncoding.EncodeToString([]byte("x.apk")))
	if err != nil {
		return err
	}
	key := fmt.Sprintf("%s-%d", pkg, version)
	_, b, err := p.ask(n+1, "POST", "/api/v1/submissions", p.ada, "application/json", fmt.Appendf(nil, `{"uploads":[%q]}`, res.Header.Get("Location")), "Idempotency-Key", key)
	if err != nil {
		return err
	}
	var sub app.Submission
	if err := json.Unmarshal(b, &sub); err != nil {
		return err
	}
	at := "/api/v1/submissions/" + sub.ID
	if _, _, err := p.ask(n, "POST", at+"/review", p.rex, "application/json", []byte(`{"approve":true}`), "Idempotency-Key", key+"-review"); err != nil {
		return err
	}
	_, _, err = p.ask(n+1, "POST", at+"/release", p.rex, "application/json", []byte(`{"share":10000}`), "Idempotency-Key", key+"-release")
	return err
}

// TestTwoProcesses publishes through two processes on one PostgreSQL and S3, of
// which one is killed on the way: no request fails after one retry, and no
// release is lost or doubled.
func TestTwoProcesses(t *testing.T) {
	p := &pair{T: t, succeeded: make(chan struct{}, 1000)}
	store, _ := p.store()
	p.ada = p.mios("store", "token", "create", "--store", store, "ada", "upload")
	p.rex = p.mios("store", "token", "create", "--store", store, "rex", "review", "release", "read")
	var processes [2]*exec.Cmd
	var logs [2]testkit.Buffer
	for i := range processes {
		processes[i], p.addrs[i] = p.serve(&logs[i], "--store", store)
	}
	const apps, versions = 4, 4
	signer := apptest.Signer(t)
	var all sync.WaitGroup
	var failed atomic.Int64
	for i := range apps {
		pkg := fmt.Sprintf("org.example.app%d", i)
		var apks [][]byte
		for v := 1; v <= versions; v++ {
			apks = append(apks, apptest.APK{Package: pkg, VersionCode: v, Label: pkg, Signers: []apksig.Signer{signer}}.Build(t))
		}
		all.Go(func() {
			for v, apk := range apks {
				if err := p.publish(pkg, v+1, apk); err != nil {
					failed.Add(1)
					t.Errorf("%s, version %d: %v", pkg, v+1, err)
					return
				}
				p.succeeded <- struct{}{}
			}
		})
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() { // a device that looks
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if _, b, err := p.ask(n, "GET", "/metadata/timestamp.json", "", "", nil); err != nil || !bytes.Contains(b, []byte(`"timestamp"`)) {
				t.Errorf("timestamp: %v", err)
				return
			}
		}
	})
	for range apps { // some are through, others are on their way
		select {
		case <-p.succeeded:
		case <-time.After(testkit.Patience):
			t.Error("nothing is published")
		}
	}
	if err := processes[0].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	close(stop)
	readers.Wait()
	if failed.Load() > 0 {
		t.Fatalf("the processes say:\n%s\n%s", logs[0].String(), logs[1].String())
	}
	for i := range apps {
		p.check(fmt.Sprintf("org.example.app%d", i), versions)
	}
	p.mios("store", "audit", "--store", store)
	t.Logf("%d requests, %d of them again", p.requests.Load(), p.retries.Load())
	if p.retries.Load() == 0 {
		t.Error("no request met the killed process: it was not under load")
	}
}

// check waits until devices see a package, and looks that each version is
// released once.
func (p *pair) check(pkg string, versions int) {
	p.Helper()
	var a app.App
	for deadline := time.Now().Add(testkit.Patience); ; time.Sleep(50 * time.Millisecond) { // while the other process works
		_, b, err := p.ask(1, "GET", "/api/v1/apps/"+pkg, p.rex, "", nil)
		if err != nil {
			p.Fatal(err)
		}
		a = app.App{}
		if err := json.Unmarshal(b, &a); err != nil {
			p.Fatal(err)
		}
		if !a.Pending && a.Claim == app.ClaimPublished {
			break
		}
		if time.Now().After(deadline) {
			p.Fatalf("devices do not see %s: %s", pkg, b)
		}
	}
	if len(a.Releases) != versions {
		p.Errorf("%s has %d releases, want %d: %+v", pkg, len(a.Releases), versions, a.Releases)
	}
	for i, r := range a.Releases { // the newest first
		if want := int64(versions - i); r.Number != want || r.VersionCode != want {
			p.Errorf("%s: release %d is of version %d, want %d", pkg, r.Number, r.VersionCode, want)
		}
	}
	_, b, err := p.ask(1, "GET", "/api/v1/apps/"+pkg+"/history", p.rex, "", nil)
	if err != nil {
		p.Fatal(err)
	}
	var h struct{ Events []history.Event }
	if err := json.Unmarshal(b, &h); err != nil {
		p.Fatal(err)
	}
	count := map[string]int{}
	for _, e := range h.Events {
		count[e.What]++
	}
	if count["submit"] != versions || count["approve"] != versions || count["release"] != versions {
		p.Errorf("%s: history counts %v", pkg, count)
	}
}

// timestamp is the version of the timestamp that a process serves.
func (p *pair) timestamp(addr string) (version int64) {
	p.Helper()
	res, err := http.Get("http://" + addr + "/metadata/timestamp.json")
	if err != nil {
		p.Fatal(err)
	}
	defer res.Body.Close()
	var doc struct{ Signed struct{ Version int64 } }
	if err := json.NewDecoder(res.Body).Decode(&doc); err != nil {
		p.Fatal(err)
	}
	return doc.Signed.Version
}

// signs waits until the timestamp that a process serves was signed so many times
// more. It never goes back.
func (p *pair) signs(addr string, times int64, log fmt.Stringer) {
	p.Helper()
	first := p.timestamp(addr)
	last := first
	for deadline := time.Now().Add(testkit.Patience); last < first+times; time.Sleep(20 * time.Millisecond) { // while it is signed
		now := p.timestamp(addr)
		if now < last {
			p.Fatalf("timestamp %d after %d", now, last)
		}
		if last = now; time.Now().After(deadline) {
			p.Fatalf("nobody signs timestamps any more, after %d: %s", last, log)
		}
	}
}

// TestRefreshTakenOver kills the one of two processes on one PostgreSQL that signs
// freshness: the other one goes on, and only then.
func TestRefreshTakenOver(t *testing.T) {
	p := &pair{T: t}
	store, records := p.store()
	db, err := storage.Records(t.Context(), records)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	var logs [2]testkit.Buffer
	leader, addr := p.serve(&logs[0], "--store", store, "--refresh", "100ms")
	p.signs(addr, 3, &logs[0])
	_, other := p.serve(&logs[1], "--store", store, "--refresh", "1ms")
	p.signs(other, 3, &logs[0])
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if unlock, err := db.Lock(ctx, "serve"); err == nil {
		unlock()
		t.Error("two processes serve, and none holds the lock of who signs")
	}
	if err := leader.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	leader.Wait()
	p.signs(other, 3, &logs[1])
	for i := range logs {
		if text := logs[i].String(); strings.Contains(text, "level=ERROR") {
			t.Errorf("process %d: %s", i+1, text)
		}
	}
}
