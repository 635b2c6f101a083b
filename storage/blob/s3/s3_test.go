package s3_test

import (
	"testing"

	"mios/internal/testkit"
	"mios/storage/blob"
	"mios/storage/blob/blobtest"
	blobs3 "mios/storage/blob/s3"
	"mios/storage/s3"
)

func TestStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) func() blob.Store {
		url := testkit.S3(t)
		return func() blob.Store {
			bucket, err := s3.Parse(url)
			if err != nil {
				t.Fatal(err)
			}
			bucket.PageSize = 10
			return blobs3.New(bucket)
		}
	})
}
