package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"mios"
	"mios/internal/testkit"
	"mios/storage"
	"mios/storage/backup"
	"mios/storage/record"
	"mios/storage/tree"
)

// kinds of storage: URLs of records and of files, empty ones.
var kinds = map[string]struct{ records, files func(t *testing.T) string }{
	"SQLite+folder": {
		func(t *testing.T) string { return "sqlite:" + t.TempDir() + "/records.db" },
		func(t *testing.T) string { return t.TempDir() },
	},
	"PostgreSQL+S3": {
		func(t *testing.T) string { return testkit.Postgres(t) },
		func(t *testing.T) string { return testkit.S3(t) },
	},
}

const pointer = "metadata/pointer.json"

// open returns an empty set of a kind.
func open(t *testing.T, kind string) backup.Set {
	t.Helper()
	k := kinds[kind]
	records, files := k.records(t), k.files(t)
	sub := func(name string) string {
		base, query, _ := strings.Cut(files, "?")
		return base + "/" + name + "?" + query
	}
	if !strings.HasPrefix(files, "s3:") {
		sub = func(name string) string { return files + "/" + name }
	}
	db, err := storage.Records(t.Context(), records)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	blobs, err := storage.Blobs(t.Context(), sub("blobs"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := storage.Tree(t.Context(), sub("public"))
	if err != nil {
		t.Fatal(err)
	}
	state, err := storage.Tree(t.Context(), "file:"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return backup.Set{Records: db, Blobs: blobs, Tree: public, State: state,
		StateHas: func(name string) bool { return name != "no.json" },
		Moves:    func(name string) bool { return name == pointer },
	}
}

var schema = fstest.MapFS{"0001_first.sql": {Data: []byte("CREATE TABLE events (number BIGINT PRIMARY KEY, blob TEXT NOT NULL, content BLOB)")}}

// publish takes the n-th step of a store: a blob, its file, a row, the pointer.
func publish(ctx context.Context, s backup.Set, n int) error {
	b := bytes.Repeat([]byte{byte(n)}, 100+n)
	d, _, err := s.Blobs.Put(ctx, bytes.NewReader(b), mios.Digest{})
	if err != nil {
		return err
	}
	if err := s.Tree.Create(ctx, fmt.Sprintf("apps/%d.apk", n), bytes.NewReader(b)); err != nil {
		return err
	}
	err = s.Records.Tx(ctx, func(tx *record.Tx) error {
		_, err := tx.Exec("INSERT INTO events (number, blob, content) VALUES (?, ?, ?)", n, d, b[:n%3])
		return err
	})
	if err != nil {
		return err
	}
	var old []byte
	if n > 1 {
		old = fmt.Append(nil, n-1)
	}
	return s.Tree.Point(ctx, pointer, old, fmt.Append(nil, n))
}

// fill puts into a set what a store has after n steps.
func fill(t *testing.T, s backup.Set, n int) {
	t.Helper()
	if err := s.Records.Migrate(t.Context(), "test", schema); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= n; i++ {
		if err := publish(t.Context(), s, i); err != nil {
			t.Fatal(err)
		}
	}
	large := make([]byte, 2<<20)
	rand.NewChaCha8([32]byte{1}).Read(large)
	if _, _, err := s.Blobs.Put(t.Context(), bytes.NewReader(large), mios.Digest{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"large.bin", "dir/ü %.json", "empty"} {
		if err := s.Tree.Create(t.Context(), name, bytes.NewReader(large[:len(name)/9*len(large)])); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"repo.json", "staged/a.json", "no.json"} {
		if err := s.State.Create(t.Context(), name, strings.NewReader(name)); err != nil {
			t.Fatal(err)
		}
	}
}

// contents returns all that a set has, by name.
func contents(t *testing.T, s backup.Set) map[string]mios.Digest {
	t.Helper()
	all := map[string]mios.Digest{}
	for kind, tr := range map[string]tree.Tree{"tree": s.Tree, "state": s.State} {
		names, err := tr.List(t.Context(), ".")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := tree.ReadAll(t.Context(), tr, name, 4<<20)
			if err != nil {
				t.Fatal(err)
			}
			if kind+name != "stateno.json" {
				all[kind+" "+name] = mios.Sum(b)
			}
		}
	}
	for info, err := range s.Blobs.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all["blob "+info.Digest.String()] = info.Digest
	}
	var dump bytes.Buffer
	if _, err := s.Records.Dump(t.Context(), &dump); err != nil {
		t.Fatal(err)
	}
	all["records"] = mios.Sum(dump.Bytes())
	return all
}

func restore(t *testing.T, b []byte, to backup.Set) error {
	t.Helper()
	a, err := backup.Open(t.Context(), bytes.NewReader(b), int64(len(b)), nil)
	if err != nil {
		return err
	}
	return a.Restore(t.Context(), to, nil)
}

// TestRestore takes each kind of storage to each kind, and compares all.
func TestRestore(t *testing.T) {
	for from := range kinds {
		for to := range kinds {
			t.Run(from+" to "+to, func(t *testing.T) {
				old, fresh := open(t, from), open(t, to)
				fill(t, old, 20)
				var b bytes.Buffer
				sum, err := backup.Write(t.Context(), &b, old, nil)
				if err != nil {
					t.Fatal(err)
				}
				if sum.Rows != 20 || sum.Blobs != 21 || sum.Files != 24 || sum.State != 2 || sum.Bytes != int64(b.Len()) {
					t.Errorf("summary %+v of %d bytes", sum, b.Len())
				}
				if b.Len() > 3<<20 {
					t.Errorf("%d bytes: what is there twice was written twice", b.Len())
				}
				if err := restore(t, b.Bytes(), fresh); err != nil {
					t.Fatal(err)
				}
				want, got := contents(t, old), contents(t, fresh)
				if !maps.Equal(want, got) || len(want) != 21+24+2+1 {
					t.Errorf("restored %v\nwant %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
				}
				if err := publish(t.Context(), fresh, 21); err != nil {
					t.Errorf("the restored store does not go on: %v", err)
				}
				if err := restore(t, b.Bytes(), fresh); !errors.Is(err, mios.ErrConflict) || !strings.Contains(err.Error(), "into an empty store") {
					t.Errorf("Restore over what is there = %v, want conflict", err)
				}
			})
		}
	}
}

// goOn publishes from the n-th step on in bursts and pauses, as people do, until
// ctx ends.
func goOn(ctx context.Context, s backup.Set, n int) error {
	for ; ctx.Err() == nil; n++ {
		if n%4 == 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(300 * time.Millisecond):
			}
		}
		if err := publish(context.WithoutCancel(ctx), s, n); err != nil {
			return err
		}
	}
	return nil
}

// TestWhileItRuns backs up a store that goes on publishing, and wants what is
// restored to be what it was at one moment.
func TestWhileItRuns(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			old, fresh := open(t, kind), open(t, "SQLite+folder")
			fill(t, old, 5)
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- goOn(ctx, old, 6) }()
			var b bytes.Buffer
			_, err := backup.Write(t.Context(), &b, old, nil)
			stop()
			if err := errors.Join(err, <-done); err != nil {
				t.Fatal(err)
			}
			if err := restore(t, b.Bytes(), fresh); err != nil {
				t.Fatal(err)
			}
			p, err := tree.ReadAll(t.Context(), fresh.Tree, pointer, 100)
			if err != nil {
				t.Fatal(err)
			}
			at, err := strconv.Atoi(string(p))
			if err != nil {
				t.Fatal(err)
			}
			var rows, last int
			err = fresh.Records.View(t.Context(), func(tx *record.Tx) error {
				return tx.QueryRow("SELECT count(*), max(number) FROM events").Scan(&rows, &last)
			})
			if err != nil || rows != last || last != at && last != at+1 {
				t.Errorf("%d rows up to %d with a pointer at %d, %v", rows, last, at, err)
			}
			for n := 1; n <= last; n++ {
				b := bytes.Repeat([]byte{byte(n)}, 100+n)
				if got, err := tree.ReadAll(t.Context(), fresh.Tree, fmt.Sprintf("apps/%d.apk", n), 1000); err != nil || !bytes.Equal(got, b) {
					t.Errorf("file %d: %v", n, err)
				}
				f, err := fresh.Blobs.Open(t.Context(), mios.Sum(b))
				if err != nil {
					t.Fatal(err)
				}
				f.Close()
			}
		})
	}
}

// TestDamage wants every byte that is damaged or missing to be found before
// anything is restored.
func TestDamage(t *testing.T) {
	old := open(t, "SQLite+folder")
	if err := old.Records.Migrate(t.Context(), "test", schema); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		if err := publish(t.Context(), old, n+1); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if _, err := backup.Write(t.Context(), &out, old, nil); err != nil {
		t.Fatal(err)
	}
	whole := out.Bytes()
	for n := 0; n < len(whole)-1024; n += 512 { // a tar file ends in 1024 zeros
		if _, err := backup.Open(t.Context(), bytes.NewReader(whole[:n]), int64(n), nil); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("its first %d of %d bytes: %v, want invalid", n, len(whole), err)
		}
	}
	data := bytes.Index(whole, bytes.Repeat([]byte{1}, 100))
	for _, at := range []int{data, data + 99} {
		b := bytes.Clone(whole)
		b[at] ^= 1
		if _, err := backup.Open(t.Context(), bytes.NewReader(b), int64(len(b)), nil); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("byte %d damaged: %v, want invalid", at, err)
		}
	}
	if _, err := backup.Open(t.Context(), iotestReader{}, 4096, nil); err == nil {
		t.Error("a backup that cannot be read: no error")
	}
	// Where things go has to be said, before anything is written.
	fresh := open(t, "SQLite+folder")
	fresh.Blobs = nil
	if err := restore(t, whole, fresh); !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), "the backup has blobs: say where they go") {
		t.Errorf("Restore without a place for blobs = %v", err)
	}
	if empty, err := fresh.Records.Empty(t.Context()); !empty || err != nil {
		t.Errorf("records after that: empty %v, %v", empty, err)
	}
}

type iotestReader struct{}

func (iotestReader) ReadAt([]byte, int64) (int, error) { return 0, io.ErrNoProgress }

func FuzzOpen(f *testing.F) {
	var empty bytes.Buffer
	if _, err := backup.Write(f.Context(), &empty, backup.Set{}, nil); err != nil {
		f.Fatal(err)
	}
	f.Add(empty.Bytes())
	f.Add(empty.Bytes()[:1024])
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := backup.Open(t.Context(), bytes.NewReader(b), int64(len(b)), nil)
		if err != nil {
			return
		}
		if s := a.Summary(); s.Files > len(b) || s.Blobs > len(b) {
			t.Errorf("%+v of %d bytes", s, len(b))
		}
	})
}
