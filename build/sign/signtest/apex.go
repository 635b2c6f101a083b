package signtest

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mios/build/image/avbtool"
	"mios/format/apk"
	"mios/format/avb"
	"mios/internal/protowire"
)

// apexes are the APEXes of every folder: one as it is, one compressed.
var apexes = []string{"com.android.hello", "com.android.compressed"}

// tethering is an APEX that a folder may have beside them, and connectivity the app
// in it.
const tethering = "com.android.tethering"

var connectivity = App{
	Path: "app/ServiceConnectivityResources/ServiceConnectivityResources.apk", Package: "com.android.connectivity.resources", Key: Platform, Strings: `
<string name="config_networkCaptivePortalServerUrl"></string>
<overlayable name="ServiceConnectivityResourcesConfig"><policy type="product|system|vendor">
<item type="string" name="config_networkCaptivePortalServerUrl"/>
</policy></overlayable>`,
}

// apexes are those of these options: the compressed one is the second.
func (o *Options) apexes() []string {
	if o.Tethering {
		return append(slices.Clone(apexes), tethering)
	}
	return apexes
}

// apexManifest is apex_manifest.pb of AOSP's system/apex: name, version, and of
// a compressed one the root digest of the original.
func apexManifest(name, original string) []byte {
	b := protowire.AppendBytes(nil, 1, name)
	b = protowire.AppendUint(b, 2, 350000000)
	if original != "" {
		b = protowire.AppendBytes(b, 12, protowire.AppendBytes(nil, 1, original))
	}
	return b
}

// makeAPEX returns an APEX in its container, signed, and the root digest of its
// payload.
func (k *Keys) makeAPEX(tb testing.TB, name string) (apex []byte, root string) {
	tb.Helper()
	pub, err := avb.EncodePublicKey(&k.AVB[name].PublicKey)
	if err != nil {
		tb.Fatal(err)
	}
	payload, d := k.payload(tb, name)
	files := []zipFile{
		{name: "apex_manifest.pb", data: apexManifest(name, ""), stored: true},
		{name: "apex_build_info.pb", data: protowire.AppendBytes(nil, 1, "apexer of signtest"), stored: true},
		{name: apk.ManifestName, data: containerManifest(tb, name)},
		{name: "assets/NOTICE.html.gz", data: noise(uint64(len(name)), 500)},
		{name: "apex_payload.img", data: payload, stored: true, align: 4096},
		{name: "apex_pubkey", data: pub, stored: true},
	}
	return signAPK(tb, zipOf(tb, files...), k.APEX[name], false), hex.EncodeToString(d.RootDigest)
}

// compress returns the compressed APEX of an APEX, as AOSP's
// apex_compression_tool.
func (k *Keys) compress(tb testing.TB, name string, apex []byte, root string) []byte {
	tb.Helper()
	pub, err := avb.EncodePublicKey(&k.AVB[name].PublicKey)
	if err != nil {
		tb.Fatal(err)
	}
	return signAPK(tb, zipOf(tb,
		zipFile{name: "original_apex", data: apex},
		zipFile{name: "apex_manifest.pb", data: apexManifest(name, root), stored: true},
		zipFile{name: apk.ManifestName, data: containerManifest(tb, name)},
		zipFile{name: "apex_build_info.pb", data: protowire.AppendBytes(nil, 1, "apexer of signtest"), stored: true},
		zipFile{name: "apex_pubkey", data: pub, stored: true},
	), k.APEX[name], false)
}

func containerManifest(tb testing.TB, name string) []byte {
	root, err := apk.ParseText(fmt.Appendf(nil, `<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="%s" android:versionCode="350000000">
<uses-sdk android:minSdkVersion="30" android:targetSdkVersion="35"/>
<application android:hasCode="false"/>
</manifest>`, name))
	if err != nil {
		tb.Fatal(err)
	}
	return apk.AppendXML(nil, root)
}

// payload returns apex_payload.img: a file system with an app in it, signed
// with AVB.
func (k *Keys) payload(tb testing.TB, name string) ([]byte, *avb.HashtreeDescriptor) {
	tb.Helper()
	var t tree
	t.add(&node{tree: "apex", mode: os.ModeDir | 0o755})
	t.file("apex/apex_manifest.pb", apexManifest(name, ""))
	t.file("apex/bin/hello", noise(7, 20_000))
	t.file("apex/etc/init.rc", text(8, 2000))
	app := App{Path: "app/HelloApex/HelloApex.apk", Package: name + ".app", Key: Platform}
	if name == tethering {
		app = connectivity
	}
	t.file("apex/"+app.Path, app.build(tb, k))
	out := filepath.Join(tb.TempDir(), "apex_payload.img")
	makeExt4(tb, out, "/apex/"+name, place(t.in("apex"), ""), 0)
	d, err := avbtool.AddHashtree(context.Background(), out, avbtool.FooterOptions{
		Content: avbtool.Content{
			Algorithm: avb.SHA256RSA4096, Key: k.AVB[name], Release: avbtool.Release,
			Properties: []*avb.PropertyDescriptor{{Key: "apex.key", Value: []byte(name)}},
		},
		HashAlgorithm: "sha256", Salt: salt(name), InPlace: true,
	}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		tb.Fatal(err)
	}
	return b, d
}
