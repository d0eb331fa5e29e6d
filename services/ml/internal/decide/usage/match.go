package usage

import (
	"fmt"
	"path"
	"slices"

	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// Matches says whether a name is one of the patterns, which are names or have a star.
func Matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// CheckPatterns refuses what Matches cannot read.
func CheckPatterns(field string, patterns []string) error {
	for i, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil {
			return fault.Invalid(fmt.Sprintf("%s[%d]", field, i), "must be a name, or one with a star")
		}
	}
	return nil
}
