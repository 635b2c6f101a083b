package s3_test

import (
	"testing"

	"mios/internal/testkit"
	"mios/storage/s3"
	"mios/storage/tree"
	trees3 "mios/storage/tree/s3"
	"mios/storage/tree/treetest"
)

func TestTree(t *testing.T) {
	treetest.Run(t, func(t *testing.T) tree.Tree {
		bucket, err := s3.Parse(testkit.S3(t))
		if err != nil {
			t.Fatal(err)
		}
		bucket.PageSize = 3
		return trees3.New(bucket)
	})
}
