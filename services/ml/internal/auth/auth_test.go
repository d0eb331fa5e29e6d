package auth_test

import (
	"testing"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/auth"
)

func TestOnlyKnownKeysGetInAndOnlyWhereTheContractLetsServersIn(t *testing.T) {
	keys := auth.New([]string{"first-key-0123456789", "", "second-key-0123456789"})
	service := &accessv1.Policy{Callers: []accessv1.Caller{accessv1.Caller_CALLER_SERVICE}}
	anyone := &accessv1.Policy{Callers: []accessv1.Caller{accessv1.Caller_CALLER_ANYONE}}
	admin := &accessv1.Policy{Callers: []accessv1.Caller{accessv1.Caller_CALLER_ADMIN}}
	const ok = faultv1.Reason_REASON_UNSPECIFIED
	for name, c := range map[string]struct {
		policy *accessv1.Policy
		bearer string
		want   faultv1.Reason
	}{
		"the first key":             {service, "first-key-0123456789", ok},
		"the second key":            {service, "second-key-0123456789", ok},
		"an unknown key":            {service, "third-key-0123456789", faultv1.Reason_REASON_UNAUTHENTICATED},
		"the beginning of a key":    {service, "first-key", faultv1.Reason_REASON_UNAUTHENTICATED},
		"no key":                    {service, "", faultv1.Reason_REASON_UNAUTHENTICATED},
		"no key where none needed":  {anyone, "", ok},
		"a key where admins may":    {admin, "first-key-0123456789", faultv1.Reason_REASON_PERMISSION_DENIED},
		"a key and no policy":       {nil, "first-key-0123456789", faultv1.Reason_REASON_PERMISSION_DENIED},
		"no key and no policy":      {nil, "", faultv1.Reason_REASON_UNAUTHENTICATED},
		"an empty policy and a key": {&accessv1.Policy{}, "first-key-0123456789", faultv1.Reason_REASON_PERMISSION_DENIED},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keys.Authorize(t.Context(), "/x/Y", c.policy, c.bearer)
			got := ok
			if err != nil {
				got = fault.ReasonOf(err)
			}
			if got != c.want {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}
