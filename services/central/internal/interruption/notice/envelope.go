package notice

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxText bounds what is kept of any text.
const maxText = 256

var (
	instanceID = regexp.MustCompile(`^i-[0-9A-Za-z]{1,48}$`)
	regionName = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]{1,16}){1,3}-[0-9]{1,2}$`)
	// zoneName is a region's name and a letter; local zones have more to theirs.
	zoneName = regexp.MustCompile(`^[a-z]{2,4}(-[a-z0-9]{1,16}){1,6}[a-z]$`)
)

// object is JSON's. Its keys are taken exactly: encoding/json would take
// INSTANCE-ID for instance-id when it fills a struct.
type object map[string]json.RawMessage

func open(body []byte) (object, error) {
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	var o object
	if err := json.Unmarshal(body, &o); err != nil || o == nil {
		return nil, errNotObject
	}
	return o, nil
}

// unwrap takes SNS's envelope off.
func unwrap(event object) (object, error) {
	if !event.has("TopicArn") {
		return event, nil
	}
	switch event.word("Type") {
	case "Notification":
	case "SubscriptionConfirmation", "UnsubscribeConfirmation":
		return nil, errSNS
	default:
		return nil, errNoSource
	}
	message, err := event.text("Message")
	if err != nil {
		return nil, err
	}
	if event, err = open([]byte(message)); err != nil {
		return nil, err
	}
	if event.has("TopicArn") {
		return nil, errTwice
	}
	return event, nil
}

// envelope is what EventBridge writes around each event.
type envelope struct {
	id, source, kind, version string
	region, zone              string
	saidAt                    time.Time
	detail                    object
}

func envelopeOf(event object, sent time.Time) (envelope, error) {
	e := envelope{
		id: bounded(event.word("id")), source: event.word("source"), kind: event.word("detail-type"),
		version: bounded(event.word("version")), saidAt: event.time("time", sent), zone: event.zone(),
	}
	if e.kind == "" {
		e.kind = event.word("detail_type") // as Capacity Blocks' documentation has it
	}
	if e.source == "" || e.kind == "" {
		return e, errNoSource
	}
	if region := event.word("region"); regionName.MatchString(region) {
		e.region = region
	}
	if raw, there := event["detail"]; there && json.Unmarshal(raw, &e.detail) != nil {
		return e, errDetail
	}
	return e, nil
}

func (o object) has(key string) bool { return o[key] != nil }

// text is a field that has to be a text, or not there.
func (o object) text(key string) (string, error) {
	raw, there := o[key]
	if !there || string(raw) == "null" {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", errField
	}
	return s, nil
}

// word is a field that does no harm when it is none.
func (o object) word(key string) string {
	s, err := o.text(key)
	if err != nil {
		return ""
	}
	return s
}

func (o object) instance(key string) (string, error) {
	id, err := o.text(key)
	if err != nil {
		return "", err
	}
	if !instanceID.MatchString(id) {
		return "", errInstance
	}
	return id, nil
}

func (o object) objects(key string) ([]object, error) {
	var list []object
	if raw, there := o[key]; there && json.Unmarshal(raw, &list) != nil {
		return nil, errField
	}
	return list, nil
}

// layouts of times: EventBridge's, then those of AWS Health.
var layouts = []string{time.RFC3339, time.RFC1123, "Mon, 2 Jan 2006 15:04:05 MST", time.RFC1123Z}

func (o object) time(key string, otherwise time.Time) time.Time {
	said := o.word(key)
	for _, layout := range layouts {
		if at, err := time.Parse(layout, said); err == nil && at.Year() > 2000 && at.Year() < 2200 {
			return at.UTC()
		}
	}
	return otherwise
}

// zone is in the ARN of a spot instance, where others have the region. The
// resources may be one text rather than a list.
func (o object) zone() string {
	var list []string
	if raw := o["resources"]; json.Unmarshal(raw, &list) != nil {
		list = []string{o.word("resources")}
	}
	for _, arn := range list {
		part := strings.SplitN(arn, ":", 6)
		if len(part) == 6 && part[2] == "ec2" && zoneName.MatchString(part[3]) {
			return part[3]
		}
	}
	return ""
}

// bounded is a text that PostgreSQL takes and that does not fill it.
func bounded(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
