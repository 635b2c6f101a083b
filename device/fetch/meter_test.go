package fetch_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mios/device/fetch"
)

// TestMeter counts over restarts, in periods, whatever the clock does.
func TestMeter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meter.json")
	synctest.Test(t, func(t *testing.T) {
		now := time.Now
		open := func() *fetch.Meter {
			return &fetch.Meter{Path: path, Budget: 100, Period: time.Hour, Now: func() time.Time { return now() }, Log: slog.New(slog.DiscardHandler)}
		}
		m := open()
		begin := time.Now()
		m.Add(40)
		m.Add(-5)
		m.Save()
		m = open() // as after a restart
		u := m.Usage()
		if u.Spent != 40 || u.Budget != 100 || !u.Until.Equal(begin.Add(time.Hour)) || !u.Allows(60) || u.Allows(61) {
			t.Errorf("after a restart: %+v, want 40 of 100 until %v", u, begin.Add(time.Hour))
		}
		time.Sleep(30 * time.Minute)
		m.Add(70)
		if u := m.Usage(); u.Spent != 110 || u.Allows(1) {
			t.Errorf("half an hour later: %+v", u)
		}
		// A clock that goes back gives nothing back.
		now = func() time.Time { return begin.Add(-24 * time.Hour) }
		if u := m.Usage(); u.Spent != 110 || !u.Until.Equal(begin.Add(-23*time.Hour)) {
			t.Errorf("after the clock went back: %+v", u)
		}
		now = time.Now
		if u := m.Usage(); u.Spent != 0 {
			t.Errorf("in the next period: %+v", u)
		}
		for _, text := range []string{"{", `{"start":-1,"spent":5}`, `{"start":1,"spent":-5}`} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if u := open().Usage(); u.Spent != 0 {
				t.Errorf("from %s: %+v", text, u)
			}
		}
	})
	var none *fetch.Meter
	none.Add(5)
	none.Save()
	if u := none.Usage(); !u.Allows(1 << 60) {
		t.Errorf("without a meter: %+v", u)
	}
}

// TestMemory asks the mirror that worked last first, after a restart, too.
func TestMemory(t *testing.T) {
	var mu sync.Mutex
	var names []string
	asked := func() string { // since it was last called
		mu.Lock()
		defer mu.Unlock()
		list := names
		names = nil
		return strings.Join(list, " ")
	}
	server := func(name string, works bool) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			names = append(names, name)
			mu.Unlock()
			if !works {
				http.Error(w, "no", http.StatusForbidden)
				return
			}
			w.Write([]byte("hello"))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	bad, good := server("bad", false), server("good", true)
	path := filepath.Join(t.TempDir(), "mirror")
	meter := &fetch.Meter{}
	for i, want := range []string{"bad good", "good"} {
		c := &fetch.Client{Mirrors: []string{bad, good}, Memory: path, Meter: meter, Tries: 1}
		if _, err := c.Get(t.Context(), "a/b", 100); err != nil {
			t.Fatal(err)
		}
		if got := asked(); got != want {
			t.Errorf("start %d asked %q, want %q", i, got, want)
		}
		if u := meter.Usage(); u.Spent != int64(5*(i+1)) {
			t.Errorf("start %d: counted %d bytes, want %d", i, u.Spent, 5*(i+1))
		}
	}
	c := &fetch.Client{Mirrors: []string{bad, good}, Memory: path, Tries: 1}
	if _, err := c.Get(t.Context(), "a/b", 100); err != nil {
		t.Fatal(err)
	}
	c.Distrust() // then the other one is asked first
	c.Get(t.Context(), "a/b", 100)
	if got := asked(); got != "good bad good" {
		t.Errorf("asked %q", got)
	}
	new(fetch.Client).Distrust()
	// A new build that names other mirrors begins with its first.
	if err := os.WriteFile(path, []byte("http://elsewhere"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := (&fetch.Client{Mirrors: []string{good, bad}, Memory: path, Tries: 1}).Get(t.Context(), "a/b", 100)
	if got := asked(); err != nil || got != "good" {
		t.Errorf("asked %q, %v", got, err)
	}
}
