package admin

import (
	"testing"

	"go.uber.org/goleak"
)

// Streams end cleanly: nothing runs on when the tests are over.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
