package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPage(t *testing.T) {
	env := map[string]string{"MIOS_VERSION_NAME": "1.2<3", "MIOS_VERSION_CODE": "7", "MIOS_DEVICE_PRODUCT": "iot", "MIOS_DEVICE_VERSION": "5"}
	a := &app{env: func(k string) string { return env[k] }, dir: t.TempDir(), start: time.Now()}
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		a.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	get("/")
	code, body := get("/")
	for _, want := range []string{"<b>2</b> visits", "1.2&lt;3 (7)", "iot, 5"} {
		if code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("GET / = %d without %q:\n%s", code, want, body)
		}
	}
	if b, err := os.ReadFile(filepath.Join(a.dir, "visits")); string(b) != "2\n" || err != nil {
		t.Errorf("the counter's file holds %q, %v", b, err)
	}
	if code, body := get("/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("GET /healthz = %d %q", code, body)
	}
	if code, _ := get("/nope"); code != http.StatusNotFound {
		t.Errorf("GET /nope = %d", code)
	}
	a.dir = filepath.Join(a.dir, "gone")
	if code, body := get("/"); code != http.StatusOK || !strings.Contains(body, "was not counted") {
		t.Errorf("without a data folder GET / = %d\n%s", code, body)
	}
}
