// Command hello is an app that a person can see working: a web page on port
// 8080 that says where it runs, and counts its visitors in its data folder.
package main

import (
	_ "embed"
	"errors"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

const addr = ":8080"

func main() {
	a := &app{env: os.Getenv, dir: os.Getenv("HOME"), start: time.Now()}
	slog.Info("serving", "address", addr, "version", a.env("MIOS_VERSION_NAME"), "uid", os.Getuid())
	srv := &http.Server{Addr: addr, Handler: a.handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	slog.Error("serve", "err", srv.ListenAndServe())
	os.Exit(1)
}

// app is the state of the program.
type app struct {
	env   func(name string) string // what the device tells its apps
	dir   string                   // data folder
	start time.Time
	mu    sync.Mutex // the counter's file
}

func (a *app) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.index)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	return mux
}

// A view is what the page shows.
type view struct {
	Version, VersionCode  string
	Product, OS           string
	Package               string
	UID                   int
	Uptime                time.Duration
	Visits                int
	Capabilities, NoPrivs string
	Err                   string
}

func (a *app) index(w http.ResponseWriter, r *http.Request) {
	v := view{
		Version: or(a.env("MIOS_VERSION_NAME"), "?"), VersionCode: or(a.env("MIOS_VERSION_CODE"), "?"),
		Product: or(a.env("MIOS_DEVICE_PRODUCT"), "?"), OS: or(a.env("MIOS_DEVICE_VERSION"), "?"),
		Package: or(a.env("MIOS_PACKAGE"), "org.mios.hello"),
		UID:     os.Getuid(), Uptime: time.Since(a.start).Round(time.Second),
	}
	v.Capabilities, v.NoPrivs = privileges()
	var err error
	if v.Visits, err = a.count(); err != nil {
		v.Err = err.Error()
		slog.Error("count the visit", "err", err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err := page.Execute(w, v); err != nil {
		slog.Warn("write the page", "err", err)
	}
}

// count adds a visit to the counter in the data folder.
func (a *app) count() (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	path := filepath.Join(a.dir, "visits")
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(b))) // a torn file counts from 0
	n++
	if err := os.WriteFile(path+".new", []byte(strconv.Itoa(n)+"\n"), 0o600); err != nil {
		return 0, err
	}
	return n, os.Rename(path+".new", path)
}

// privileges reads what the kernel says of this process.
func privileges() (caps, noNewPrivs string) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "?", "?"
	}
	for line := range strings.Lines(string(b)) {
		switch k, v, _ := strings.Cut(line, ":"); k {
		case "CapEff":
			caps = strings.TrimSpace(v)
		case "NoNewPrivs":
			noNewPrivs = strings.TrimSpace(v)
		}
	}
	if strings.Trim(caps, "0") == "" {
		caps = "none"
	}
	return caps, map[string]string{"0": "possible", "1": "impossible"}[noNewPrivs]
}

func or(s, missing string) string {
	if s == "" {
		return missing
	}
	return s
}
