package notice

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// maxARN is more than any event's name needs.
const maxARN = 400

// health reads a scheduled change of EC2: one notice for each instance in it.
// Pages of one event are messages of their own, and need nothing of each other.
func health(e envelope) ([]Notice, error) {
	d := e.detail
	arn, err := change(d)
	if err != nil {
		return nil, err
	}
	entities, err := d.objects("affectedEntities")
	if err != nil {
		return nil, err
	}
	if len(entities) > maxEntities {
		return nil, errEntities
	}
	if region := d.word("eventRegion"); regionName.MatchString(region) {
		e.region = region // the envelope's may be that of a backup region
	}
	var notices []Notice
	seen := map[string]bool{}
	for _, entity := range entities {
		id := entity.word("entityValue")
		if !instanceID.MatchString(id) || seen[id] || entity.word("status") == "RESOLVED" {
			continue // volumes and whole accounts are entities too
		}
		seen[id] = true
		notices = append(notices, scheduled(e, arn, id))
	}
	if len(notices) == 0 {
		return nil, errNoEntity
	}
	return notices, nil
}

// change is the name of the event, if it is one that we act on.
func change(d object) (arn string, err error) {
	switch {
	case d.word("service") != "EC2" || d.word("eventTypeCategory") != "scheduledChange":
		return "", errNotForUs
	case d.word("statusCode") == "closed":
		return "", errClosed
	}
	if arn, err = d.text("eventArn"); err != nil {
		return "", err
	}
	if arn == "" || len(arn) > maxARN || strings.ContainsFunc(arn, unicode.IsControl) {
		return "", errARN
	}
	return arn, nil
}

func scheduled(e envelope, arn, instance string) Notice {
	d := e.detail
	n := e.notice(ScheduledChange, instance)
	start := bounded(d.word("startTime"))
	if n.Deadline = d.time("startTime", time.Time{}); !n.Deadline.IsZero() {
		start = n.Deadline.Format(time.RFC3339) // one key, however the time is spelt
	}
	n.Key = fmt.Sprintf("health/%s/%s/%s", arn, instance, start)
	n.Detail["event_arn"] = bounded(arn)
	n.keep(d, "eventTypeCode", "event_type_code")
	n.keep(d, "statusCode", "status_code")
	n.keep(d, "endTime", "end_time")
	return n
}
