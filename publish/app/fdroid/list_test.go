package fdroid

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"

	"mios"
)

func newList() *list {
	l := &list{repo: 300, items: []item{{name: "a", size: 5}, {name: "org.example.b", size: 70_000}, {name: "z", size: 0}}}
	for i := range l.items {
		sum := mios.Sum([]byte(l.items[i].name))
		copy(l.items[i].sum[:], sum[:])
	}
	l.place()
	return l
}

func TestList(t *testing.T) {
	l := newList()
	got, err := parseList(l.bytes())
	if err != nil || !reflect.DeepEqual(got, l) {
		t.Errorf("parseList = %+v, %v, want %+v", got, err, l)
	}
	for _, tt := range []struct {
		b    string
		want string
	}{
		{"", "offset 0: want"},
		{listMagic, "offset 19: want a number"},
		{listMagic + "\x01\x02", "offset 21: 0 bytes left, want 1"},
		{listMagic + "\x01\xff\xff\xff\x7f", "want a number of at most"},
		{listMagic + "\x81\x00\x00", "shortest form"},
		{listMagic + "\x01\x00!", "offset 21: 1 bytes behind the last package"},
		{strings.Replace(string(l.bytes()), "\x01z", "\x01A", 1), `package "A" behind "org.example.b"`},
	} {
		if _, err := parseList([]byte(tt.b)); !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("parseList(%q) = %v, want %q", tt.b, err, tt.want)
		}
	}
}

func FuzzParseList(f *testing.F) {
	f.Add(newList().bytes())
	f.Add((&list{}).bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		l, err := parseList(in)
		if err != nil {
			if !errors.Is(err, mios.ErrInvalid) {
				t.Errorf("%v is no kind of error", err)
			}
			return
		}
		if out := l.bytes(); !bytes.Equal(out, in) {
			t.Errorf("%q becomes %q", in, out)
		}
	})
}

// apply applies a merge patch (RFC 7396).
func apply(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, _ := target.(map[string]any)
	if t = maps.Clone(t); t == nil {
		t = map[string]any{}
	}
	for name, value := range p {
		if value == nil {
			delete(t, name)
		} else {
			t[name] = apply(t[name], value)
		}
	}
	return t
}

// hasNull reports whether a value cannot be the target of a patch: in one, null
// removes.
func hasNull(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		for _, e := range v {
			if hasNull(e) {
				return true
			}
		}
	}
	return false
}

func FuzzMergePatch(f *testing.F) {
	for _, s := range [][2]string{
		{`{"a":1,"b":{"c":[1,2],"d":{}}}`, `{"a":2,"b":{"c":[2]}}`}, {`{}`, `{"a":{"b":{}}}`}, {`{"a":{"b":1}}`, `{"a":3}`}, {`[1]`, `{"a":1}`},
		{`{"a":"x"}`, `{"a":{"x":"\u00e4"}}`}, {`{"a":{"b":1,"c":2}}`, `{"a":{}}`},
	} {
		f.Add([]byte(s[0]), []byte(s[1]))
	}
	f.Fuzz(func(t *testing.T, from, to []byte) {
		from, to = compact(from), compact(to)
		var a, b any
		if from == nil || to == nil || json.Unmarshal(from, &a) != nil || json.Unmarshal(to, &b) != nil || hasNull(b) {
			return
		}
		p, differs, err := mergePatch(from, to)
		if err != nil {
			t.Fatal(err)
		}
		if !differs {
			if !reflect.DeepEqual(a, b) {
				t.Errorf("no patch from %s to %s", from, to)
			}
			return
		}
		var patch any
		if err := json.Unmarshal(p, &patch); err != nil {
			t.Fatalf("patch %s: %v", p, err)
		}
		if got := apply(a, patch); !reflect.DeepEqual(got, b) {
			t.Errorf("%s patched with %s is %v, want %s", from, p, got, to)
		}
	})
}

// compact returns JSON without spaces, nil if it is none.
func compact(b []byte) []byte {
	var out bytes.Buffer
	if json.Compact(&out, b) != nil {
		return nil
	}
	return out.Bytes()
}

func TestClean(t *testing.T) {
	for _, tt := range []struct {
		kind     kind
		in, want string
	}{
		{line, "plain", "plain"},
		{line, "\ntwo\nlines\t\n", "two lines "},
		{line, "a\x00b\x07c\x1b[31md\u0085", "abc[31md"},
		{line, "eipho\u202ecod.exe\u2066\u2069", "eiphocod.exe"},
		{line, "Ünïcödé \u200e\u061c 谢", "Ünïcödé \u200e\u061c 谢"},
		{line, "<b>bold</b> & <script>", "<b>bold</b> & <script>"},
		{text, "a\u2028b\tc\x00\n", "a\nb\tc\n"},
		{html, "<b>bold</b> &amp; <a href=\"https://example.org\">x</a> 1 < 2", "<b>bold</b> &amp; <a href=\"https://example.org\">x</a> 1 < 2"},
		{html, "<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"},
		{html, "<IMG src=x onerror=alert(1)>", "&lt;IMG src=x onerror=alert(1)>"},
		{html, "< iframe src=x>", "&lt; iframe src=x>"},
		{html, "<header><bodyguard><linker>", "<header><bodyguard><linker>"},
		{html, "<b onclick=\"x()\">y</b><p/ONLOAD=z>", "&lt;b onclick=\"x()\">y</b>&lt;p/ONLOAD=z>"},
		{html, "<a href='JavaScript:x'>y</a>", "&lt;a href='JavaScript:x'>y</a>"},
		{html, "<scr\x00ipt>", "&lt;script>"},
		{html, "<<script>", "<&lt;script>"},
		{html, "<object", "&lt;object"},
	} {
		if got := tt.kind.clean(tt.in); got != tt.want {
			t.Errorf("clean(%d, %q) = %q, want %q", tt.kind, tt.in, got, tt.want)
		}
	}
	for in, want := range map[string]string{
		"https://example.org/a?b#c": "https://example.org/a?b#c", " http://example.org ": "http://example.org", "javascript:alert(1)": "", "intent://x": "",
		"mailto:x@example.org": "", "https://": "", "//example.org": "", "": "", "https://exa mple.org\n": "",
	} {
		if got := link(in); got != want {
			t.Errorf("link(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a\"b\\c\n\x00\x7f", "\xff\xfe", "ü谢\u2028"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := encoder{}
		e.quote(s)
		var got string
		if err := json.Unmarshal(e.b, &got); err != nil {
			t.Fatalf("%q: %v", e.b, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); got != want && strings.ReplaceAll(got, "\ufffd", "") != strings.ReplaceAll(want, "\ufffd", "") {
			t.Errorf("%q became %q", s, got)
		}
	})
}
