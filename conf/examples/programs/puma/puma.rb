queue_requests false
threads 0, 8
# Below drain.grace: what is not done by then is ended by puma, with an error in its log.
force_shutdown_after 25
