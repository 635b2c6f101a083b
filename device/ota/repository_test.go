package ota

import (
	"bytes"
	"context"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"mios/api/repo"
	"mios/device/boot"
	"mios/device/fetch"
	"mios/format/bootctl"
	"mios/publish/repotest"
	web "mios/serve/repo"
)

// TestFromRepository takes a release the whole way: published, served, found,
// fetched, and written to a disk of files.
func TestFromRepository(t *testing.T) {
	published := repotest.New(t, repotest.Keys(t), "iot")
	rel, payload := twoRelease()
	r := *rel
	r.Salt, r.MaxShare, r.Target.Path = "salt", repo.Everyone, repo.OSPath("iot", rel.Arch, rel.Version, rel.BuildTime)
	if _, err := published.PublishOS(t.Context(), &r, bytes.NewReader(payload), repo.Everyone); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer((&web.Service{Repo: published, Log: slog.New(slog.DiscardHandler)}).Handler())
	defer server.Close()
	c := &fetch.Client{Mirrors: []string{server.URL}}
	root, err := c.Get(t.Context(), repo.MetadataPath("root", 1), repo.MaxRoot)
	if err != nil {
		t.Fatal(err)
	}

	w := newWorld(t)
	disk, dir := fileDisk(t), t.TempDir()
	misc, err := disk.Open("misc")
	if err != nil {
		t.Fatal(err)
	}
	defer misc.Close()
	if _, err := misc.WriteAt(must(bootctl.New(2, 7).Bytes()), bootctl.ControlOffset); err != nil {
		t.Fatal(err)
	}
	w.load()
	cfg := w.config(one(), &fakeProps{w: w, reboot: func() {}})
	cfg.Disk, cfg.Store = disk, Dir(filepath.Join(dir, "ota"))
	cfg.Fetcher = c
	cfg.Repository = must(repo.Open(repo.Config{Dir: filepath.Join(dir, "repo"), Root: root, Fetcher: c, Product: "iot",
		BuildTime: time.Unix(1000, 0), MaxAge: 24 * time.Hour}))
	cfg.RollbackIndex = func(location uint32) (uint64, error) {
		p, err := disk.Open("rpmb")
		if err != nil {
			return 0, err
		}
		defer p.Close()
		return boot.StoredRollbackIndex(p, location)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e := New(cfg)
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	e.Follow(ctx, func(s Status) bool { return !rests(s) && s.State != NeedReboot })
	s, _ := e.Status()
	cancel()
	<-done
	if s.State != NeedReboot || !w.rebooted {
		t.Fatalf("status is\n%v", s)
	}
	for name, want := range two().images {
		p, err := disk.Open(name + "_b")
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := p.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Errorf("partition %s_b is not release 2's (%v)", name, err)
		}
		p.Close()
	}
	b := make([]byte, bootctl.ControlSize)
	if _, err := misc.ReadAt(b, bootctl.ControlOffset); err != nil {
		t.Fatal(err)
	}
	if c := must(bootctl.ParseControl(b)); c.Slots[1].Tries != DefaultTries || !c.Slots[1].Bootable() || c.Slots[0].Priority >= c.Slots[1].Priority {
		t.Errorf("control block is %+v", c)
	}
}
