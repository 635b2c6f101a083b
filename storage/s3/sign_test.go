package s3

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"mios"
)

// TestSign compares with the examples of Amazon's manual:
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
func TestSign(t *testing.T) {
	c := credentials{key: "AKIAIOSFODNN7EXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	for _, tt := range []struct {
		method, path string
		query        url.Values
		header       map[string]string
		body, want   string
	}{
		{"GET", "/test.txt", nil, map[string]string{"Range": "bytes=0-9"}, "", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
		{"PUT", "/test$file.text", nil, map[string]string{"Date": "Fri, 24 May 2013 00:00:00 GMT", "X-Amz-Storage-Class": "REDUCED_REDUNDANCY"},
			"Welcome to Amazon S3.", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
		{"GET", "/", url.Values{"lifecycle": {""}}, nil, "", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
		{"GET", "/", url.Values{"prefix": {"J"}, "max-keys": {"2"}}, nil, "", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
	} {
		u := url.URL{Scheme: "https", Host: "examplebucket.s3.amazonaws.com", Path: tt.path, RawPath: escape(tt.path, true), RawQuery: canonicalQuery(tt.query)}
		req, err := http.NewRequest(tt.method, u.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range tt.header {
			req.Header.Set(k, v)
		}
		c.sign(req, "us-east-1", mios.Sum([]byte(tt.body)), time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC))
		if got := req.Header.Get("Authorization"); !strings.HasSuffix(got, "Signature="+tt.want) {
			t.Errorf("%s %s: %s, want the signature %s", tt.method, tt.path, got, tt.want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"} {
		t.Setenv(name, "")
	}
	b, err := Parse("s3://KEY:SEC%2FRET@host:9000/bucket/a/b/?region=eu-1&tls=0")
	if err != nil {
		t.Fatal(err)
	}
	if b.base.String() != "http://host:9000" || b.name != "bucket" || b.prefix != "a/b/" || b.region != "eu-1" || b.creds != (credentials{"KEY", "SEC/RET", ""}) {
		t.Errorf("Parse = %+v", b)
	}
	if got := b.Sub("c").String(); got != "s3://host:9000/bucket/a/b/c/" {
		t.Errorf("String = %q", got)
	}
	for _, url := range []string{
		"", "http://K:S@h/b", "s3://K:S@h", "s3://K:S@h/", "s3:///b", "s3://h/b", "s3://K@h/b", "s3://K:S@h/b?regio=x", "s3://K:S@h/b?%zz", "s3://K:SECRET\x7f@h/b",
	} {
		if _, err := Parse(url); !errors.Is(err, mios.ErrInvalid) || strings.Contains(err.Error(), "SECRET\x7f") {
			t.Errorf("Parse(%q) = %v, want invalid, and no secret told", url, err)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "k")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	t.Setenv("AWS_SESSION_TOKEN", "t")
	t.Setenv("AWS_REGION", "r")
	if b, err := Parse("s3://h/b"); err != nil || b.creds != (credentials{"k", "s", "t"}) || b.region != "r" || b.base.String() != "https://h" {
		t.Errorf("from the environment: %+v, %v", b, err)
	}
}
