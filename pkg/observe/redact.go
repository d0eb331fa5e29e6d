package observe

import (
	"log/slog"
	"net/url"
	"reflect"
	"regexp"
	"strings"
)

// hidden stands where a secret was.
const hidden = "[redacted]"

// words end the names of attributes whose values are secret.
var words = []string{
	"authorization", "api_key", "apikey", "token", "password", "passwd", "secret", "credential", "credentials",
	"private_key", "access_key", "cookie", "dsn",
}

// isSecret looks at a name's end, so that db_password and X-Api-Key count and token_count does not.
func isSecret(name string) bool {
	name = strings.ReplaceAll(snake(name), "-", "_")
	for _, word := range words {
		if name == word || strings.HasSuffix(name, "_"+word) {
			return true
		}
	}
	return false
}

var humps = regexp.MustCompile(`([a-z0-9])([A-Z])`)

// snake turns apiKey and ApiKey into api_key.
func snake(name string) string {
	return strings.ToLower(humps.ReplaceAllString(name, "${1}_${2}"))
}

// redact hides an attribute with a secret's name, entries of maps with such names, and
// credentials inside texts and errors, whatever their name.
func redact(attr slog.Attr) slog.Attr {
	if isSecret(attr.Key) {
		return slog.String(attr.Key, hidden)
	}
	switch value := attr.Value.Any().(type) {
	case string:
		attr.Value = slog.StringValue(scrub(value))
	case error:
		attr.Value = slog.StringValue(scrub(value.Error()))
	case *url.URL:
		attr.Value = slog.StringValue(value.Redacted())
	case map[string]string:
		attr.Value = slog.AnyValue(redactMap(value, scrub))
	case map[string]any:
		attr.Value = slog.AnyValue(redactMap(value, func(v any) any { return redact(slog.Any("", v)).Value.Any() }))
	case map[string][]string:
		attr.Value = slog.AnyValue(redactMap(value, scrubAll))
	default:
		return redactHeader(attr)
	}
	return attr
}

func redactMap[V any](values map[string]V, keep func(V) V) map[string]any {
	out := make(map[string]any, len(values))
	for key, value := range values {
		out[key] = keep(value)
		if isSecret(key) {
			out[key] = hidden
		}
	}
	return out
}

func scrubAll(texts []string) []string {
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = scrub(text)
	}
	return out
}

var (
	bearer   = regexp.MustCompile(`(?i)\b(bearer|basic) +[^\s"',;]+`)
	userinfo = regexp.MustCompile(`(://[^/\s:@]*):[^/\s@]+@`)
)

// scrub hides bearer tokens and the passwords of URLs. The cheap searches come first: nearly no
// text has either.
func scrub(text string) string {
	if strings.Contains(text, "://") {
		text = userinfo.ReplaceAllString(text, "${1}:"+hidden+"@")
	}
	lower := strings.ToLower(text)
	if strings.Contains(lower, "bearer ") || strings.Contains(lower, "basic ") {
		text = bearer.ReplaceAllString(text, "${1} "+hidden)
	}
	return text
}

// redactHeader handles the named kinds of map[string][]string, such as http.Header, gRPC's
// metadata.MD and url.Values, without knowing them all.
func redactHeader(attr slog.Attr) slog.Attr {
	if attr.Value.Kind() != slog.KindAny {
		return attr
	}
	value, want := reflect.ValueOf(attr.Value.Any()), reflect.TypeFor[map[string][]string]()
	if value.Kind() != reflect.Map || !value.CanConvert(want) {
		return attr
	}
	values, ok := value.Convert(want).Interface().(map[string][]string)
	if ok {
		attr.Value = slog.AnyValue(redactMap(values, scrubAll))
	}
	return attr
}
