"""A verified model over HTTP: `server` runs it, `scoring_app` answers, `request_body` parses what is asked."""
