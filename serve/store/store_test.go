package store_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mios/format/apksig"
	"mios/publish/app"
	"mios/publish/app/apptest"
	"mios/publish/app/history"
	"mios/serve"
	"mios/serve/store"
	"mios/storage/record"
)

// TestLife takes a version from an upload to devices and back, through the API
// alone.
func TestLife(t *testing.T) {
	d := newDesk(t)
	id := d.submit(1)
	var sub app.Submission
	d.call("GET", "/api/v1/submissions/"+id, d.ada, "", 200, &sub)
	if sub.State != app.Review || sub.VersionCode != 1 {
		t.Errorf("submission %+v", sub)
	}
	d.call("GET", "/api/v1/submissions/"+id+"/facts", d.rex, "", 200, nil)
	d.call("POST", "/api/v1/submissions/"+id+"/review", d.rex, `{"approve":true,"why":"It rings."}`, 200, &sub)
	if sub.State != app.Approved || sub.Verdict.By != "rex" {
		t.Errorf("after review: %+v", sub)
	}
	var rel app.Release
	d.call("POST", "/api/v1/submissions/"+id+"/release", d.rex, `{"share":100,"regions":["DE"]}`, 201, &rel)
	d.call("POST", "/api/v1/apps/org.example.clock/releases/1/share", d.rex, `{"share":10000}`, 200, &rel)
	d.call("POST", "/api/v1/apps/org.example.clock/releases/1/halt", d.rex, `{"why":"It does not."}`, 200, &rel)
	if !rel.Halted || rel.Share != 10000 || rel.Regions[0] != "DE" {
		t.Errorf("release %+v", rel)
	}
	d.call("POST", "/api/v1/apps/org.example.clock/releases/1/resume", d.rex, ``, 200, &rel)
	second := d.submit(2)
	d.call("POST", "/api/v1/submissions/"+second+"/review", d.rex, `{"approve":true}`, 200, nil)
	d.call("POST", "/api/v1/submissions/"+second+"/release", d.rex, `{}`, 201, nil)
	d.call("POST", "/api/v1/apps/org.example.clock/rollback", d.rex, `{"why":"It sleeps."}`, 201, &rel)
	if rel.Number != 3 || !rel.Rollback || rel.VersionCode != 1 {
		t.Errorf("rollback %+v", rel)
	}
	var a app.App
	d.call("GET", "/api/v1/apps/org.example.clock", d.ada, "", 200, &a)
	if len(a.Releases) != 3 || !a.Pending || a.Developers[0] != "ada" {
		t.Errorf("app %+v", a)
	}
	if _, err := d.app.Compile(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.call("GET", "/api/v1/apps/org.example.clock", d.ada, "", 200, &a)
	if a.Claim != app.ClaimPublished {
		t.Errorf("app %+v", a)
	}
	var h struct{ Events []history.Event }
	d.call("GET", "/api/v1/apps/org.example.clock/history", d.rex, "", 200, &h)
	var words []string
	for _, e := range h.Events {
		words = append(words, e.Who+" "+e.What)
	}
	want := "ada submit, rex approve, rex release, rex share, rex halt, rex resume, ada submit, rex approve, rex release, rex withdraw, rex rollback"
	if got := strings.Join(words, ", "); got != want {
		t.Errorf("history: %s\nwant %s", got, want)
	}
	d.call("PUT", "/api/v1/apps/org.example.clock/developers", d.root, `{"developers":["ada","bob"]}`, 200, &a)
	if len(a.Developers) != 2 {
		t.Errorf("developers %v", a.Developers)
	}
	d.call("PUT", "/api/v1/apps/org.example.clock/listing", d.ada, `{"upload":"`+d.upload(d.ada, "listing.zip", listingZip(t, "Clock of Ada"))+`"}`, 200, nil)
	var list struct{ Submissions []app.Submission }
	d.call("GET", "/api/v1/submissions?limit=1&state=approved", d.rex, "", 200, &list)
	if len(list.Submissions) != 1 || list.Submissions[0].ID != second {
		t.Errorf("newest approved: %+v", list)
	}
	var apps struct{ Apps []app.App }
	d.call("GET", "/api/v1/apps", d.rex, "", 200, &apps)
	if len(apps.Apps) != 1 {
		t.Errorf("apps: %+v", apps)
	}
	var st app.Status
	d.call("GET", "/api/v1/status", d.rex, "", 200, &st)
	if st.Apps != 1 || st.Submissions[app.Approved] != 2 {
		t.Errorf("status %+v", st)
	}
	if log := d.log.String(); !strings.Contains(log, "path=/api/v1/apps/org.example.clock/rollback status=201") || !strings.Contains(log, "who=rex") || strings.Contains(log, d.rex) {
		t.Errorf("the log does not say who did what, or has a secret:\n%s", log)
	}
}

func listingZip(t *testing.T, title string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range map[string]string{"en-US/title.txt": title, "en-US/short_description.txt": "It rings.", "en-US/full_description.txt": "It rings, and rings."} {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(w, text)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestScopes: a token does what it is for, and nothing else.
func TestScopes(t *testing.T) {
	d := newDesk(t)
	id := d.submit(1)
	_, other, err := d.tokens.Create(t.Context(), "test", store.TokenSpec{Who: "ada", Scopes: []store.Scope{store.Upload, store.Review, store.Release, store.Read}, Packages: []string{"org.example.other"}})
	if err != nil {
		t.Fatal(err)
	}
	bob := d.token("bob", store.Upload)
	for _, tt := range []struct {
		method, path, secret, body string
		status                     int
		text                       string
	}{
		{"GET", "/api/v1/me", "", "", 401, "Authorization: Bearer TOKEN"},
		{"GET", "/api/v1/me", "mios_x_y", "", 401, "not known here"},
		{"GET", "/api/v1/me", d.ada + "0", "", 401, "not known here"},
		{"GET", "/api/v1/me", strings.Repeat("x", 5000), "", 401, "not known here"},
		{"POST", "/api/v1/submissions/" + id + "/review", d.ada, `{"approve":true}`, 403, "the scope review, and yours has upload"},
		{"POST", "/api/v1/submissions/" + id + "/release", d.ada, `{}`, 403, "the scope release"},
		{"POST", "/api/v1/submissions", d.rex, `{"uploads":["x"]}`, 403, "the scope upload"},
		{"GET", "/api/v1/tokens", d.rex, "", 403, "the scope admin"},
		{"GET", "/api/v1/history", d.ada, "", 403, "the scope read"},
		{"GET", "/api/v1/submissions/" + id, bob, "", 404, "submission " + id},
		{"GET", "/api/v1/submissions/" + id, other, "", 404, "submission " + id},
		{"POST", "/api/v1/submissions/" + id + "/review", other, `{"approve":true}`, 403, "for org.example.other and not for org.example.clock"},
		{"GET", "/api/v1/apps/org.example.clock", other, "", 403, "for org.example.other and not for org.example.clock"},
		{"GET", "/api/v1/history", other, "", 403, "not for all packages"},
		{"GET", "/api/v1/nothing", d.root, "", 404, "/api/openapi.json lists"},
		{"DELETE", "/api/v1/submissions", d.root, "", 405, "the header Allow"},
		{"GET", "/api/v1/submissions/9999", d.root, "", 404, "submission"},
		{"GET", "/api/v1/apps/no.such.app", d.root, "", 404, "no.such.app"},
	} {
		a := d.do(tt.method, tt.path, tt.secret, strings.NewReader(tt.body), "Content-Type", "application/json")
		if a.StatusCode != tt.status || !strings.Contains(a.detail(), tt.text) {
			t.Errorf("%s %s %s: %s: %s; want %d with %q", tt.method, tt.path, tt.body, a.Status, a.body, tt.status, tt.text)
		}
	}
	a := d.do("POST", "/api/v1/submissions", other, strings.NewReader(`{"uploads":["`+d.upload(other, "clock.apk", d.version(2))+`"]}`), "Content-Type", "application/json")
	if a.StatusCode != 403 || !strings.Contains(a.detail(), "may submit org.example.other only") {
		t.Errorf("a submission for another package: %s %s", a.Status, a.body)
	}
	var list struct{ Submissions []app.Submission }
	if d.call("GET", "/api/v1/submissions", bob, "", 200, &list); len(list.Submissions) != 0 {
		t.Errorf("bob sees %+v", list)
	}
	listing := `{"upload":"` + d.upload(bob, "l.zip", listingZip(t, "Bob's")) + `"}`
	put := func() *answer {
		return d.do("PUT", "/api/v1/apps/org.example.clock/listing", bob, strings.NewReader(listing), "Content-Type", "application/json")
	}
	if a := put(); a.StatusCode != 404 {
		t.Errorf("a listing of nothing: %s %s", a.Status, a.body)
	}
	d.call("POST", "/api/v1/submissions/"+id+"/review", d.rex, `{"approve":true}`, 200, nil)
	if a := put(); a.StatusCode != 403 || !strings.Contains(a.detail(), "mios store developers org.example.clock ada bob") {
		t.Errorf("the listing of another developer's app: %s %s; want 403 and what adds bob", a.Status, a.body)
	}
	d.call("PUT", "/api/v1/apps/org.example.clock/developers", d.root, `{"developers":["ada","bob"]}`, 200, nil)
	if a := put(); a.StatusCode != 200 {
		t.Errorf("the listing, by one of the developers: %s %s", a.Status, a.body)
	}
}

// TestScopesSome: a token for some packages gets whole pages of them, and no more
// by being an administrator's.
func TestScopesSome(t *testing.T) {
	d := newDesk(t)
	first := d.submit(1)
	d.call("POST", "/api/v1/submissions/"+first+"/review", d.rex, `{"approve":true}`, 200, nil)
	a := apptest.APK{Package: "org.example.app", VersionCode: 1, Label: "Other", Signers: []apksig.Signer{d.signer}}
	var sub app.Submission
	d.call("POST", "/api/v1/submissions", d.ada, `{"uploads":["`+d.upload(d.ada, "other.apk", a.Build(t))+`"]}`, 201, &sub)
	d.call("POST", "/api/v1/submissions/"+sub.ID+"/review", d.rex, `{"approve":true}`, 200, nil)
	_, some, err := d.tokens.Create(t.Context(), "test", store.TokenSpec{Who: "kim", Scopes: []store.Scope{store.Admin}, Packages: []string{"org.example.clock"}})
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Submissions []app.Submission }
	if d.call("GET", "/api/v1/submissions?limit=1", some, "", 200, &list); len(list.Submissions) != 1 || list.Submissions[0].ID != first {
		t.Errorf("the newest that kim sees: %+v, want submission %s", list.Submissions, first)
	}
	var apps struct{ Apps []app.App }
	if d.call("GET", "/api/v1/apps?limit=1", some, "", 200, &apps); len(apps.Apps) != 1 || apps.Apps[0].Package != "org.example.clock" {
		t.Errorf("the first app that kim sees: %+v, want the clock", apps.Apps)
	}
	for _, tt := range [][3]string{
		{"POST", "/tokens", `{"who":"kim","scopes":["admin"]}`}, {"GET", "/tokens", ""}, {"DELETE", "/tokens/none", ""}, {"GET", "/status", ""}, {"GET", "/history", ""},
	} {
		a := d.do(tt[0], "/api/v1"+tt[1], some, strings.NewReader(tt[2]), "Content-Type", "application/json")
		if a.StatusCode != 403 || !strings.Contains(a.detail(), "not for all packages") {
			t.Errorf("%s %s: %s %s", tt[0], tt[1], a.Status, a.body)
		}
	}
}

// TestTokens: a token that was revoked or has expired is refused at once, and
// the database has no secret.
func TestTokens(t *testing.T) {
	d := newDesk(t)
	var made struct {
		store.Token
		Secret string
	}
	d.call("POST", "/api/v1/tokens", d.root, `{"who":"bob","scopes":["upload"],"packages":["org.example.clock"],"ttl":3600}`, 201, &made, "Idempotency-Key", "k")
	var me store.Token
	d.call("GET", "/api/v1/me", made.Secret, "", 200, &me)
	if me.Who != "bob" || me.By != "root" || me.Packages[0] != "org.example.clock" || me.Used == nil || me.Expires == nil {
		t.Errorf("me: %+v", me)
	}
	d.call("DELETE", "/api/v1/tokens/"+made.ID, d.root, "", 200, nil)
	if a := d.do("GET", "/api/v1/me", made.Secret, nil); a.StatusCode != 401 || !strings.Contains(a.detail(), "was revoked") {
		t.Errorf("a revoked token: %s %s", a.Status, a.body)
	}
	_, short, err := d.tokens.Create(t.Context(), "test", store.TokenSpec{Who: "eve", Scopes: []store.Scope{store.Read}, TTL: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	if a := d.do("GET", "/api/v1/me", short, nil); a.StatusCode != 401 || !strings.Contains(a.detail(), "expired") {
		t.Errorf("a token that has expired: %s %s", a.Status, a.body)
	}
	var dump bytes.Buffer
	if _, err := d.db.Dump(t.Context(), &dump); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{made.Secret, short, d.ada} {
		if i := strings.LastIndexByte(secret, '_'); strings.Contains(dump.String(), secret[i+1:]) {
			t.Errorf("the database has the secret %s", secret)
		}
	}
	if a := d.do("DELETE", "/api/v1/tokens/none", d.root, nil); a.StatusCode != 404 {
		t.Errorf("revoke what is not there: %s", a.Status)
	}
	for _, body := range []string{`{"who":"","scopes":["upload"]}`, `{"who":"a","scopes":[]}`, `{"who":"a","scopes":["all"]}`, `{"who":"<b>","scopes":["read"]}`, `{"who":"a","scopes":["read"],"packages":["a b"]}`, `{"who":"a","scopes":["read"],"ttl":-1}`} {
		if a := d.do("POST", "/api/v1/tokens", d.root, strings.NewReader(body), "Content-Type", "application/json"); a.StatusCode != 422 {
			t.Errorf("%s: %s %s", body, a.Status, a.body)
		}
	}
	var got *answer
	for range 40 { // bad tokens
		if got = d.do("GET", "/api/v1/me", "mios_a_b", nil); got.StatusCode == 429 {
			break
		}
	}
	if got.StatusCode != 429 || got.Header.Get("Retry-After") == "" {
		t.Errorf("after many bad tokens: %s", got.Status)
	}
}

// TestOnce: a request that is sent again gets the same answer, and nothing is
// done twice; another with its key is refused.
func TestOnce(t *testing.T) {
	d := newDesk(t)
	body := `{"uploads":["` + d.upload(d.ada, "clock.apk", d.version(1)) + `"]}`
	first := d.call("POST", "/api/v1/submissions", d.ada, body, 201, nil, "Idempotency-Key", "one")
	d.start() // another process
	again := d.call("POST", "/api/v1/submissions", d.ada, body, 201, nil, "Idempotency-Key", "one")
	if !bytes.Equal(first.body, again.body) || again.Header.Get("Idempotency-Replayed") != "true" || first.Header.Get("Idempotency-Replayed") != "" {
		t.Errorf("asked again: %s %v", again.body, again.Header)
	}
	if a := d.do("POST", "/api/v1/submissions", d.ada, strings.NewReader(`{"uploads":["x"]}`), "Content-Type", "application/json", "Idempotency-Key", "one"); a.StatusCode != 422 || !strings.Contains(a.detail(), "take a new key") {
		t.Errorf("another request with the key: %s %s", a.Status, a.body)
	}
	if a := d.do("POST", "/api/v1/submissions", d.ada, strings.NewReader(body), "Content-Type", "application/json"); a.StatusCode != 201 || !bytes.Equal(a.body, first.body) {
		t.Errorf("without a key: %s %s", a.Status, a.body)
	}
	refused := d.do("POST", "/api/v1/submissions", d.ada, strings.NewReader(`{"uploads":["x"]}`), "Content-Type", "application/json", "Idempotency-Key", "two")
	same := d.do("POST", "/api/v1/submissions", d.ada, strings.NewReader(`{"uploads":["x"]}`), "Content-Type", "application/json", "Idempotency-Key", "two")
	if refused.StatusCode != 404 || same.StatusCode != 404 || !bytes.Equal(refused.body, same.body) || same.Header.Get("Idempotency-Replayed") != "true" || same.detail() != refused.detail() {
		t.Errorf("a refusal: %s %s, again %s %s", refused.Status, refused.body, same.Status, same.body)
	}
	if left := d.left(); left["store_submissions"] != 1 || left["store_events"] != 1 {
		t.Errorf("kept: %v", left)
	}
	if err := d.db.Tx(t.Context(), func(tx *record.Tx) error {
		_, err := tx.Exec(`UPDATE api_answers SET expires = 1`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := d.service.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := d.do("POST", "/api/v1/submissions", d.ada, strings.NewReader(body), "Content-Type", "application/json", "Idempotency-Key", "one"); a.Header.Get("Idempotency-Replayed") != "" {
		t.Error("an old answer was kept")
	}
}

// TestRefuses: bad requests are refused by what is wrong, and leave nothing.
func TestRefuses(t *testing.T) {
	d := newDesk(t)
	id := d.submit(1)
	before := d.left()
	huge := `{"note":"` + strings.Repeat("x", 1<<20) + `"}`
	apk := func(a apptest.APK) string { return d.upload(d.ada, "x.apk", a.Build(t)) }
	signed := []apksig.Signer{d.signer}
	for _, tt := range []struct {
		name, path, kind, body string
		status                 int
		text                   string
	}{
		{"no type", "/submissions", "", `{}`, 415, "Content-Type: application/json"},
		{"a form", "/submissions", "application/x-www-form-urlencoded", `a=b`, 415, "application/json"},
		{"another charset", "/submissions", "application/json; charset=latin1", `{}`, 415, "application/json"},
		{"no JSON", "/submissions", "application/json", `{`, 400, "the body is not what this takes"},
		{"two objects", "/submissions", "application/json", `{} {}`, 400, "goes on after its JSON"},
		{"an unknown field", "/submissions", "application/json", `{"upload":["x"]}`, 400, `unknown field "upload"`},
		{"another type of field", "/submissions", "application/json", `{"uploads":"x"}`, 400, "uploads"},
		{"an unknown parameter", "/submissions?dry=1", "application/json", `{"uploads":["x"]}`, 400, `no parameter is called "dry"`},
		{"too much", "/submissions", "application/json", huge, 413, "1048576 bytes"},
		{"no upload", "/submissions", "application/json", `{"uploads":[]}`, 400, "0 uploads"},
		{"nobody's upload", "/submissions", "application/json", `{"uploads":["../../x"]}`, 404, "begin it anew"},
		{"HTML in a note", "/submissions", "application/json", `{"uploads":["` + apk(apptest.APK{VersionCode: 2, Signers: signed}) + `"],"note":"<script>alert(1)</script>"}`, 422, "HTML"},
		{"no APK", "/submissions", "application/json", `{"uploads":["` + d.upload(d.ada, "x.apk", []byte("PK\x03\x04 nothing")) + `"]}`, 422, "x.apk"},
		{"no signature", "/submissions", "application/json", `{"uploads":["` + apk(apptest.APK{VersionCode: 3}) + `"]}`, 403, "sign it again"},
		{"a lower version", "/submissions", "application/json", `{"uploads":["` + apk(apptest.APK{VersionCode: 1, Label: "Other", Signers: signed}) + `"]}`, 409, "raise the version code"},
		{"no ZIP as listing", "/submissions", "application/json", `{"uploads":["` + apk(apptest.APK{VersionCode: 4, Signers: signed}) + `"],"listing":"` + d.upload(d.ada, "l.zip", []byte("no zip")) + `"}`, 422, "fastlane"},
		{"HTML in a reason", "/submissions/" + id + "/review", "application/json", `{"approve":true,"why":"<img src=x>"}`, 422, "HTML"},
		{"a share of too much", "/submissions/" + id + "/release", "application/json", `{"share":10001}`, 422, "at most 100"},
		{"no track", "/submissions/" + id + "/release", "application/json", `{"track":"alpha"}`, 422, "alpha"},
		{"no number", "/apps/a.b/releases/x/halt", "application/json", `{}`, 400, `"x" is no number`},
	} {
		a := d.do("POST", "/api/v1"+tt.path, d.both(tt.path), strings.NewReader(tt.body), "Content-Type", tt.kind)
		if a.StatusCode != tt.status || !strings.Contains(a.detail(), tt.text) {
			t.Errorf("%s: %s: %.300s; want %d with %q", tt.name, a.Status, a.body, tt.status, tt.text)
		}
	}
	// Uploads that were complete and not taken wait a day to be submitted better.
	var rows []string
	if err := d.db.View(t.Context(), func(tx *record.Tx) error {
		r, err := tx.Query(`SELECT name FROM api_files ORDER BY name`)
		if err != nil {
			return err
		}
		defer r.Close()
		for rows = nil; r.Next(); {
			var s string
			if err := r.Scan(&s); err != nil {
				return err
			}
			rows = append(rows, s)
		}
		return r.Err()
	}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(rows, " "); got != "clock.apk l.zip x.apk" {
		t.Errorf("uploads left: %s", got)
	}
	after := d.left()
	for _, table := range []string{"store_submissions", "store_blobs", "store_events"} {
		if before[table] != after[table] {
			t.Errorf("%s: %d, before %d", table, after[table], before[table])
		}
	}
	if after["files"] != before["files"]+after["api_files"]-before["api_files"] {
		t.Errorf("files: %v, before %v", after, before)
	}
}

// both is the secret that a path of the test above needs.
func (d *desk) both(path string) string {
	if strings.HasPrefix(path, "/submissions?") || path == "/submissions" {
		return d.ada
	}
	return d.rex
}

// TestSlow: who drips the head of a request loses the connection.
func TestSlow(t *testing.T) {
	d := newDesk(t)
	slow := httptest.NewUnstartedServer(d.service.Handler())
	slow.Config = serve.NewServer(slow.Config.Handler, slog.New(slog.DiscardHandler))
	if slow.Config.ReadHeaderTimeout == 0 {
		t.Error("the server waits for ever")
	}
	slow.Config.ReadHeaderTimeout = 50 * time.Millisecond
	slow.Start()
	t.Cleanup(slow.Close)
	c, err := net.Dial("tcp", slow.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /api/v1/submissions HTTP/1.1\r\nHost: x\r\nContent-") // and no more
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := c.Read(make([]byte, 100)); err == nil && n == 0 {
		t.Error("the connection stays open")
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Error("the connection stays open")
	}
}

// TestWatch: the process tells how it is, and what it can do.
func TestWatch(t *testing.T) {
	d := newDesk(t)
	d.call("GET", "/healthz", "", "", 200, nil)
	d.call("GET", "/readyz", "", "", 200, nil)
	d.db.Close()
	if a := d.do("GET", "/readyz", "", nil); a.StatusCode != 503 || !strings.Contains(a.detail(), "try another process") {
		t.Errorf("without a database: %s %s", a.Status, a.body)
	}
	d.call("GET", "/healthz", "", "", 200, nil)
	if a := d.do("GET", "/api/v1/me", d.ada, nil); a.StatusCode != 500 || strings.Contains(string(a.body), "sql") {
		t.Errorf("without a database: %s %s", a.Status, a.body)
	}
	var spec map[string]any
	a := d.do("GET", "/api/openapi.json", "", nil)
	if err := json.Unmarshal(a.body, &spec); err != nil || spec["openapi"] != "3.1.0" {
		t.Errorf("%v: %.100s", err, a.body)
	}
	paths := spec["paths"].(map[string]any)
	if len(paths) < 20 {
		t.Errorf("%d paths: %v", len(paths), maps.Keys(paths))
	}
}
