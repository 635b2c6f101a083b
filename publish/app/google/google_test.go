package google

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios"
	"mios/format/apk"
	"mios/internal/conformance"
	"mios/internal/tool"
)

// assemble makes a DEX file of classes in smali's language, by smali itself.
func assemble(t *testing.T, classes map[string]string) []byte {
	t.Helper()
	smali, err := tool.Look("smali")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, body := range classes {
		super := "Ljava/lang/Object;"
		if s, rest, ok := strings.Cut(body, "\n"); ok && strings.HasPrefix(s, ".super ") {
			super, body = strings.TrimPrefix(s, ".super "), rest
		}
		class := "L" + strings.ReplaceAll(name, ".", "/") + ";"
		text := fmt.Sprintf(".class public %s\n.super %s\n%s", class, super, body)
		if err := os.WriteFile(filepath.Join(dir, name+".smali"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "classes.dex")
	cmd := exec.Command(smali, "assemble", "-j", "1", "-o", out, dir)
	cmd.Env = append(os.Environ(), "JAVA_TOOL_OPTIONS=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC") // it starts in half the time
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("smali: %v\n%s", err, msg)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// method is a static method with some instructions.
func method(name string, code ...string) string {
	return ".method public static " + name + "()V\n.registers 2\n" + strings.Join(code, "\n") + "\nreturn-void\n.end method\n"
}

func call(class, name string) string {
	return "invoke-static {}, L" + strings.ReplaceAll(class, ".", "/") + ";->" + name + "()V"
}

// A sample is a package to be scanned.
type sample struct {
	manifest string            // what is in the manifest element
	classes  map[string]string // see assemble
	files    map[string]string
	xml      map[string]string // text of XML resources
}

func (s sample) build(t *testing.T) *apk.File {
	t.Helper()
	var b bytes.Buffer
	w := apk.NewWriter(&b)
	add := func(name string, content []byte) {
		if err := w.Add(name, apk.Deflate, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	document := func(text string) []byte {
		root, err := apk.ParseText([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return apk.AppendXML(nil, root)
	}
	const ns = `xmlns:android="http://schemas.android.com/apk/res/android"`
	add(apk.ManifestName, document(fmt.Sprintf(`<manifest %s package="org.example">%s</manifest>`, ns, s.manifest)))
	for _, name := range slices.Sorted(maps.Keys(s.xml)) {
		add(name, document(strings.Replace(s.xml[name], " ", " "+ns+" ", 1)))
	}
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		add(name, []byte(s.files[name]))
	}
	if len(s.classes) > 0 {
		add("classes.dex", assemble(t, s.classes))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := apk.Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const mainActivity = `<application><activity android:name=".Main"/></application>`

// Parts of libraries, as they are in packages.
const (
	messaging = "com.google.firebase.messaging.FirebaseMessaging"
	mapView   = "com.google.android.gms.maps.MapView"
	billing   = "com.android.billingclient.api.BillingClient"
	signIn    = "com.google.android.gms.auth.api.signin.GoogleSignIn"
	scanner   = "com.google.mlkit.vision.barcode.BarcodeScanning"
	available = "com.google.android.gms.common.GoogleApiAvailability"
)

func TestScan(t *testing.T) {
	for _, tt := range []struct {
		name string
		sample
		verdict Verdict
		want    string // id level verdict [kind what where]..., of the services
	}{
		{"no code", sample{manifest: mainActivity}, Works, ""},
		{"called", sample{manifest: mainActivity, classes: map[string]string{
			"org.example.Main": method("run", call("org.example.Push", "start")),
			"org.example.Push": method("start", call(messaging, "getInstance"), call(messaging, "getInstance")),
			messaging:          method("getInstance"),
		}}, Partly, "fcm called works in part [code com.google.firebase.messaging.FirebaseMessaging.getInstance org.example.Push.start 2]"},
		{"merely bundled", sample{manifest: mainActivity, classes: map[string]string{
			"org.example.Main": method("run"),
			messaging:          method("getInstance"),
			"com.google.firebase.messaging.TopicsTask": method("run", call(messaging, "getInstance")),
			"com.google.firebase.Other":                method("run", call(messaging, "getInstance")),
		}}, Works, "fcm bundled works [library com.google.firebase.messaging  2]"},
		{"called by what nothing starts", sample{manifest: mainActivity, classes: map[string]string{
			"org.example.Main": method("run"), "org.library.Push": method("start", call(messaging, "getInstance")),
			messaging: method("getInstance"),
		}}, Works, "fcm bundled works [unreached com.google.firebase.messaging.FirebaseMessaging.getInstance org.library.Push.start 1]"},
		{"started by its name", sample{manifest: mainActivity, classes: map[string]string{
			"org.example.Main": method("run", `const-string v0, "org.library.Push"`), "org.library.Push": method("start", call(messaging, "getInstance")),
			messaging: method("getInstance"),
		}}, Partly, "fcm called works in part [code com.google.firebase.messaging.FirebaseMessaging.getInstance org.library.Push.start 1]"},
		{"started by native code", sample{manifest: mainActivity, files: map[string]string{"lib/x86_64/libmain.so": "x"}, classes: map[string]string{
			"org.example.Main": method("run"),
			"org.library.Push": ".method public native poll()V\n.end method\n" + method("start", call(messaging, "getInstance")),
			messaging:          method("getInstance"),
		}}, Partly, "fcm called works in part"},
		{"not in the package", sample{manifest: mainActivity, classes: map[string]string{
			"org.example.Main": method("run", call(billing, "newBuilder")),
		}}, Works, "billing bundled works [absent com.android.billingclient.api.BillingClient.newBuilder org.example.Main.run 1]"},
		{"renamed by a shrinker", sample{
			manifest: `<uses-permission android:name="com.android.vending.BILLING"/>` + mainActivity,
			classes: map[string]string{
				"org.example.Main": method("run", call("a.b", "c")),
				"a.b":              method("c", `const-string v0, "com.android.vending.billing.InAppBillingService.BIND"`),
			}}, Partly, "billing called works in part [string com.android.vending.billing.InAppBillingService.BIND a.b.c 1]" +
			"[manifest uses-permission com.android.vending.BILLING  1]"},
		{"renamed, with the names of interfaces alone", sample{manifest: mainActivity, classes: map[string]string{
			"org.example.Main": method("run", call("a.b", "c")),
			"a.b": method("c", `const-string v0, "com.google.android.gms.maps.internal.ICreator"`,
				`const-string v0, "com.google.android.gms.location.internal.IGoogleLocationManagerService"`,
				`const-string v0, "com.google.android.gms.ads.ChimeraAdManagerCreatorImpl"`),
		}}, Partly, "maps called works in part [string com.google.android.gms.maps.internal.ICreator a.b.c 1]; " +
			"location called works in part; ads called works"},
		{"what every renamed client of the services has", sample{manifest: mainActivity, classes: map[string]string{
			"org.example.Main": method("run", call("a.b", "c")),
			"a.b": method("c", `const-string v0, "com.google.android.gms.signin.service.START"`,
				`const-string v0, "com.google.android.gms.common.internal.IGmsServiceBroker"`),
		}}, Works, ""},
		{"a string in its own library", sample{manifest: mainActivity, classes: map[string]string{
			"org.example.Main": method("run"),
			billing:            method("c", `const-string v0, "com.android.vending.billing.InAppBillingService.BIND"`),
		}}, Works, "billing bundled works"},
		{"in a layout", sample{manifest: mainActivity, xml: map[string]string{"res/layout/a.xml": `<` + mapView + ` android:name="x"/>`}, classes: map[string]string{
			"org.example.Main": method("run"), mapView: method("x"),
		}}, Partly, "maps called works in part [layout com.google.android.gms.maps.MapView  1]"},
		{"in the layout of a package without it", sample{manifest: mainActivity, xml: map[string]string{"res/layout/a.xml": `<` + mapView + ` android:name="x"/>`}},
			Works, "maps bundled works [absent com.google.android.gms.maps.MapView  1]"},
		{"inherits", sample{manifest: `<application><service android:name="Push"/></application>`, classes: map[string]string{
			"org.example.Push": ".super Lcom/google/firebase/messaging/FirebaseMessagingService;\n" + method("x"),
			"com.google.firebase.messaging.FirebaseMessagingService": method("x"),
		}}, Partly, "fcm called works in part [code com.google.firebase.messaging.FirebaseMessagingService org.example.Push 1]"},
		{"a required library", sample{manifest: `<application><uses-library android:name="com.google.android.maps"/></application>`},
			Fails, "maps-v1 called does not work [manifest uses-library com.google.android.maps (required)  1]"},
		{"a library that may be missing", sample{manifest: `<application><uses-library android:name="com.google.android.maps" android:required="false"/></application>`},
			Works, "maps-v1 declared works [manifest uses-library com.google.android.maps  1]"},
		{"the model comes along", sample{manifest: mainActivity, files: map[string]string{"lib/arm64-v8a/libbarhopper_v3.so": "x"}, classes: map[string]string{
			"org.example.Main": method("run", call(scanner, "getClient")), scanner: method("getClient"),
		}}, Works, "vision called works"},
		{"the model is fetched", sample{manifest: mainActivity, classes: map[string]string{
			"org.example.Main": method("run", call(scanner, "getClient")), scanner: method("getClient"),
		}}, Partly, "vision called works in part"},
		{"merged manifest", sample{manifest: `<uses-permission android:name="com.google.android.c2dm.permission.RECEIVE"/>
			<application><activity android:name=".Main"/><service android:name="com.google.firebase.messaging.FirebaseMessagingService">
			<intent-filter><action android:name="com.google.firebase.MESSAGING_EVENT"/></intent-filter></service>
			<meta-data android:name="com.google.android.geo.API_KEY" android:value="x"/></application>`}, Works, "fcm declared works" +
			"[manifest action com.google.firebase.MESSAGING_EVENT com.google.firebase.messaging.FirebaseMessagingService 1]" +
			"[manifest service com.google.firebase.messaging.FirebaseMessagingService  1]" +
			"[manifest uses-permission com.google.android.c2dm.permission.RECEIVE  1]; maps declared works"},
		{"worst first", sample{manifest: mainActivity, classes: map[string]string{
			"org.example.Main": method("run", call(signIn, "getClient"), call("com.google.android.vending.licensing.LicenseChecker", "checkAccess")),
			signIn:             method("getClient"),
			"com.google.android.vending.licensing.LicenseChecker": method("checkAccess"),
		}}, Fails, "licensing called does not work [code com.google.android.vending.licensing.LicenseChecker.checkAccess org.example.Main.run 1]; sign-in called works in part"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := Scan(t.Context(), []*apk.File{tt.build(t)})
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict != tt.verdict {
				t.Errorf("verdict %q, want %q", r.Verdict, tt.verdict)
			}
			var services []string
			for i, s := range r.Services {
				text := fmt.Sprintf("%s %s %s", s.ID, s.Level, s.Verdict)
				for _, e := range s.Evidence {
					if i == 0 && (e.Kind != KindLibrary || s.Level == Bundled && len(s.Evidence) == 1) {
						text += fmt.Sprintf(" [%s %s %s %d]", e.Kind, e.What, e.Where, e.Count)
					}
				}
				services = append(services, text)
			}
			got := strings.Join(services, "; ")
			if !strings.HasPrefix(strings.ReplaceAll(got, " [", "["), strings.ReplaceAll(tt.want, " [", "[")) || tt.want == "" && got != "" {
				t.Errorf("services\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestAsks(t *testing.T) {
	s := sample{manifest: mainActivity, classes: map[string]string{
		"org.example.Main": method("run", call(available, "getInstance")), available: method("getInstance"),
	}}
	r, err := Scan(t.Context(), []*apk.File{s.build(t)})
	if err != nil || len(r.Asks) != 1 || r.Asks[0].Where != "org.example.Main.run" || len(r.Services) != 0 {
		t.Errorf("%+v, %v, want one place that asks", r, err)
	}
}

// TestReal holds the report against real apps, whose sources are public: the
// settings app of Appium asks for positions through Google's library, from
// classes of its own, and has the library of sign-in from that one's
// dependencies; Android's API demos use nothing of Google's but a layout that
// has lost its activity.
func TestReal(t *testing.T) {
	dir := conformance.Dir(t, "apps")
	tally := conformance.New(t, "Google's services in real apps")
	for name, want := range map[string]map[string]string{
		"ApiDemos-debug.apk":     {"": "works", "maps-v1": "bundled works"},
		"settings_apk-debug.apk": {"": "works in part", "location": "called works in part", "sign-in": "bundled works", "dynamite": "bundled works"},
	} {
		file, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		fi, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		f, err := apk.Open(file, fi.Size())
		if err != nil {
			t.Fatal(err)
		}
		r, err := Scan(t.Context(), []*apk.File{f})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{"": string(r.Verdict)}
		for _, s := range r.Services {
			got[s.ID] = fmt.Sprintf("%s %s", s.Level, s.Verdict)
			for _, e := range s.Evidence {
				if e.Kind == KindCode && !strings.HasPrefix(e.Where, "io.appium.settings.") {
					t.Errorf("%s: %s is used in %s, want the app's own classes", name, e.What, e.Where)
				}
			}
		}
		ok := maps.Equal(got, want)
		if tally.Case(ok); !ok {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// TestMarkers holds the list that comes with the program against what it
// promises, and lists that are none against the parser.
func TestMarkers(t *testing.T) {
	m, err := builtIn()
	if err != nil {
		t.Fatal(err)
	}
	class := make(map[string]string)
	for _, s := range m.Services {
		if len(s.Classes)+len(s.UsesLibraries) == 0 {
			t.Errorf("%s: nothing of it can be called", s.ID)
		}
		for _, name := range s.Classes {
			if other := class[name]; other != "" {
				t.Errorf("%s: %s is of %s too", s.ID, name, other)
			}
			class[name] = s.ID
		}
		for _, text := range []string{s.Says, s.Instead} {
			if !strings.HasSuffix(text, ".") {
				t.Errorf("%s: %q is no sentence", s.ID, text)
			}
		}
	}
	const head = "version: 1\nservices:\n  - {id: a, name: A, says: S., instead: I., without: works"
	for _, in := range []string{
		"", "version: 1", "version: 1\nservices: [{id: a}]", head + ", fields: 1}", strings.Replace(head, "works", "well", 1) + "}",
		head + "}\n  - {id: a, name: A, says: S., instead: I., without: works}", head + ", files: ['[']}", "version: 1\nservices: [null]",
	} {
		if _, err := ParseMarkers([]byte(in)); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("%q: error %v, want invalid", in, err)
		}
	}
	if _, err := ParseMarkers([]byte(head + "}")); err != nil {
		t.Error(err)
	}
}

func FuzzParseMarkers(f *testing.F) {
	f.Add([]byte("version: 1\nservices:\n  - {id: a, name: A, says: S., instead: I., without: works, files: ['*']}"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if m, err := ParseMarkers(in); err == nil {
			newScan(m)
		} else if !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("error %v, want invalid", err)
		}
	})
}

// TestSame shows that a report is the same each time.
func TestSame(t *testing.T) {
	s := sample{manifest: mainActivity, classes: map[string]string{
		"org.example.Main": method("run", call(messaging, "getInstance"), call(billing, "newBuilder"), call(signIn, "getClient")),
		messaging:          method("getInstance"), billing: method("newBuilder"), signIn: method("getClient"),
	}}
	f := s.build(t)
	var first []byte
	for range 5 {
		r, err := Scan(t.Context(), []*apk.File{f})
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = b
		}
		if !bytes.Equal(b, first) {
			t.Fatalf("%s\nand before\n%s", b, first)
		}
	}
}
