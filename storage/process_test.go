package storage_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"testing/fstest"
	"time"

	"mios"
	"mios/internal/testkit"
	"mios/storage"
	"mios/storage/blob"
	"mios/storage/record"
	"mios/storage/tree"
)

// A child is this test program, started as another process that does one of
// these on a URL, and prints a line after each step, until it is killed.
var children = map[string]func(ctx context.Context, url string, say func(...any)) error{
	"point": childPoint, "transact": childTransact, "lock": childLock, "migrate": childMigrate, "put": childPut, "upload": childUpload,
}

func TestMain(m *testing.M) {
	if child := children[os.Getenv("MIOS_STORAGE_CHILD")]; child != nil {
		say := func(a ...any) { fmt.Println(a...) } // at once: it is not buffered
		if err := child(context.Background(), os.Getenv("MIOS_STORAGE_URL"), say); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A process is a child that runs.
type process struct {
	*exec.Cmd
	out    *bufio.Scanner
	stderr bytes.Buffer
}

func start(t *testing.T, child, url string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(self)}
	p.Env = append(os.Environ(), "MIOS_STORAGE_CHILD="+child, "MIOS_STORAGE_URL="+url)
	p.Stderr = &p.stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill(); p.Wait() })
	return p
}

// lines reads at least n lines, kills the process a moment later, and returns
// all that it has said.
func (p *process) lines(t *testing.T, n int) []string {
	t.Helper()
	var list []string
	for p.out.Scan() {
		list = append(list, p.out.Text())
		if len(list) == n {
			time.AfterFunc(rand.N(5*time.Millisecond), func() { p.Process.Kill() })
		}
	}
	p.Wait()
	if len(list) < n {
		t.Fatalf("%d lines, want %d: %s", len(list), n, p.stderr.String())
	}
	return list
}

const counter = "metadata/counter.json"

// childPoint counts by a pointer, 25 times.
func childPoint(ctx context.Context, url string, say func(...any)) error {
	tr, err := storage.Tree(ctx, url)
	if err != nil {
		return err
	}
	for done := 0; done < 25; {
		old, err := tree.ReadAll(ctx, tr, counter, 100)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(old))
		if err != nil {
			return err
		}
		switch err := tr.Point(ctx, counter, old, fmt.Append(nil, n+1)); {
		case err == nil:
			done++
		case !errors.Is(err, mios.ErrConflict):
			return err
		}
	}
	return nil
}

// TestPointBetweenProcesses lets three processes count by one pointer: none of
// their steps is lost.
func TestPointBetweenProcesses(t *testing.T) {
	for name, b := range backends {
		t.Run(name, func(t *testing.T) {
			url := b.files(t)
			tr := openTree(t, url)
			if err := tr.Point(t.Context(), counter, nil, []byte("0")); err != nil {
				t.Fatal(err)
			}
			var all []*process
			for range 3 {
				all = append(all, start(t, "point", url))
			}
			for _, p := range all {
				for p.out.Scan() {
				}
				if err := p.Wait(); err != nil {
					t.Errorf("%v: %s", err, p.stderr.String())
				}
			}
			if got, err := tree.ReadAll(t.Context(), tr, counter, 100); err != nil || string(got) != "75" {
				t.Errorf("counted to %s, %v; want 75", got, err)
			}
		})
	}
}

var chain = fstest.MapFS{"0001_chain.sql": {Data: []byte(`
CREATE TABLE events (number BIGINT PRIMARY KEY, before BIGINT NOT NULL UNIQUE, content BLOB NOT NULL);
CREATE TABLE outbox (event BIGINT PRIMARY KEY REFERENCES events (number));`)}}

// childTransact adds events, each with its row in the outbox.
func childTransact(ctx context.Context, url string, say func(...any)) error {
	db, err := record.Open(ctx, url)
	if err != nil {
		return err
	}
	for {
		var n int64
		err := db.Tx(ctx, func(tx *record.Tx) error {
			if err := tx.QueryRow("SELECT coalesce(max(number), 0) FROM events").Scan(&n); err != nil {
				return err
			}
			if _, err := tx.Exec("INSERT INTO events (number, before, content) VALUES (?, ?, ?)", n+1, n, make([]byte, 2000)); err != nil {
				return err
			}
			_, err := tx.Exec("INSERT INTO outbox (event) VALUES (?)", n+1)
			return err
		})
		if err != nil {
			return err
		}
		say(n + 1)
	}
}

// TestKillTransactions kills two processes that write, again and again: what
// they were told is done is there, and each event has its row in the outbox.
func TestKillTransactions(t *testing.T) {
	for name, b := range backends {
		t.Run(name, func(t *testing.T) {
			url := b.records(t)
			db, err := record.Open(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if err := db.Migrate(t.Context(), "chain", chain); err != nil {
				t.Fatal(err)
			}
			for range 4 {
				var told []string
				one, other := start(t, "transact", url), start(t, "transact", url)
				told = append(one.lines(t, 3), other.lines(t, 3)...)
				err := db.View(t.Context(), func(tx *record.Tx) error {
					var events, last, outbox int64
					if err := tx.QueryRow("SELECT count(*), max(number) FROM events").Scan(&events, &last); err != nil {
						return err
					}
					if err := tx.QueryRow("SELECT count(*) FROM outbox").Scan(&outbox); err != nil {
						return err
					}
					if events != last || outbox != last {
						t.Errorf("%d events up to %d, %d in the outbox", events, last, outbox)
					}
					for _, line := range told {
						if n, err := strconv.ParseInt(line, 10, 64); err != nil || n > last {
							t.Errorf("%q was done, and the last is %d", line, last)
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func childLock(ctx context.Context, url string, say func(...any)) error {
	db, err := record.Open(ctx, url)
	if err != nil {
		return err
	}
	if _, err := db.Lock(ctx, "test"); err != nil {
		return err
	}
	say("locked")
	select {}
}

// TestKillHolder wants the lock of a process that is killed to be free.
func TestKillHolder(t *testing.T) {
	for name, b := range backends {
		t.Run(name, func(t *testing.T) {
			url := b.records(t)
			db, err := record.Open(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			p := start(t, "lock", url)
			if !p.out.Scan() {
				t.Fatalf("no lock: %s", p.stderr.String())
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := db.Lock(ctx, "test"); err == nil {
				t.Error("two processes hold the lock")
			}
			p.Process.Kill()
			ctx, cancel = context.WithTimeout(t.Context(), testkit.Patience)
			defer cancel()
			unlock, err := db.Lock(ctx, "test")
			if err != nil {
				t.Fatalf("after its holder was killed: %v", err)
			}
			unlock()
		})
	}
}

// steps are migrations that take a while.
func steps() fstest.MapFS {
	m := fstest.MapFS{}
	for i := 1; i <= 20; i++ {
		m[fmt.Sprintf("%04d_step.sql", i)] = &fstest.MapFile{Data: fmt.Appendf(nil,
			"CREATE TABLE t%d (a BIGINT PRIMARY KEY); INSERT INTO t%d (a) VALUES (1), (2), (3);", i, i)}
	}
	return m
}

func childMigrate(ctx context.Context, url string, say func(...any)) error {
	db, err := record.Open(ctx, url)
	if err != nil {
		return err
	}
	say("open")
	return db.Migrate(ctx, "steps", steps())
}

// TestKillMigration wants a migration that was killed to be whole, or not
// begun.
func TestKillMigration(t *testing.T) {
	for name, b := range backends {
		t.Run(name, func(t *testing.T) {
			for range 5 {
				url := b.records(t)
				start(t, "migrate", url).lines(t, 1)
				db, err := record.Open(t.Context(), url)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := db.Empty(t.Context()); err != nil { // the table of migrations is whole
					t.Error(err)
				}
				if err := db.Migrate(t.Context(), "steps", steps()); err != nil {
					t.Error(err)
				}
				err = db.View(t.Context(), func(tx *record.Tx) error {
					for i := range 20 {
						var n int
						if err := tx.QueryRow(fmt.Sprintf("SELECT count(*) FROM t%d", i+1)).Scan(&n); err != nil || n != 3 {
							return fmt.Errorf("t%d has %d rows: %w", i+1, n, err)
						}
					}
					return nil
				})
				if err := errors.Join(err, db.Close()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func childPut(ctx context.Context, url string, say func(...any)) error {
	s, err := storage.Blobs(ctx, url)
	if err != nil {
		return err
	}
	for {
		b := make([]byte, 200_000+rand.N(100_000))
		rand.NewChaCha8([32]byte{byte(rand.Int()), byte(rand.Int()), byte(rand.Int())}).Read(b)
		d, _, err := s.Put(ctx, bytes.NewReader(b), mios.Digest{})
		if err != nil {
			return err
		}
		say(d)
	}
}

// whole reads all blobs, and wants each to have the digest that names it.
func whole(t *testing.T, s blob.Store) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for info, err := range s.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		f, err := s.Open(t.Context(), info.Digest)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil || mios.Sum(b) != info.Digest {
			t.Errorf("blob %s has the digest %s, %v", info.Digest, mios.Sum(b), err)
		}
		all[info.Digest.String()] = true
	}
	return all
}

func TestKillPut(t *testing.T) {
	for name, b := range backends {
		t.Run(name, func(t *testing.T) {
			url := b.files(t)
			for range 4 {
				told := start(t, "put", url).lines(t, 2)
				all := whole(t, openBlobs(t, url))
				for _, d := range told {
					if !all[d] {
						t.Errorf("%s was stored, and is not there", d)
					}
				}
			}
		})
	}
}

// childUpload begins an upload, and appends to it.
func childUpload(ctx context.Context, url string, say func(...any)) error {
	s, err := storage.Blobs(ctx, url)
	if err != nil {
		return err
	}
	u := s.Uploads()
	id, err := u.Create(ctx, blob.UploadOptions{Size: -1, Max: 1 << 30, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		return err
	}
	say(id)
	for at := int64(0); ; {
		if at, err = u.Append(ctx, id, at, bytes.NewReader(pattern(at, 50_000))); err != nil {
			return err
		}
		say(at)
	}
}

// pattern is what an upload has at an offset.
func pattern(at int64, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte((at + int64(i)) * 7 / 5)
	}
	return b
}

// TestKillUpload wants an upload to go on where its killed sender was told that
// it is, or further.
func TestKillUpload(t *testing.T) {
	for name, b := range backends {
		t.Run(name, func(t *testing.T) {
			url := b.files(t)
			for range 3 {
				said := start(t, "upload", url).lines(t, 4)
				told, err := strconv.ParseInt(said[len(said)-1], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				s := openBlobs(t, url)
				u, id := s.Uploads(), said[0]
				var up *blob.Upload
				at := int64(-1)
				for deadline := time.Now().Add(testkit.Patience); ; { // a request that was under way may still be done
					if up, err = u.Get(t.Context(), id); err != nil {
						t.Fatal(err)
					}
					if up.Offset < told {
						t.Fatalf("it is at %d, and was at %d", up.Offset, told)
					}
					at, err = u.Append(t.Context(), id, up.Offset, bytes.NewReader(pattern(up.Offset, 10_000)))
					if !errors.Is(err, mios.ErrConflict) || time.Now().After(deadline) {
						break
					}
				}
				if err != nil || at != up.Offset+10_000 {
					t.Fatalf("Append = %d, %v", at, err)
				}
				want := pattern(0, int(at))
				if d, n, err := u.Finish(t.Context(), id, mios.Sum(want)); err != nil || n != at {
					t.Errorf("Finish = %s, %d, %v", d, n, err)
				}
			}
			whole(t, openBlobs(t, url))
		})
	}
}
