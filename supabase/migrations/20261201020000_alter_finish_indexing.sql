-- Some thousand passages take longer to be put into the search index than the 8 seconds that a request has by default, and
-- all of them come at once. PostgREST makes this the limit of the request.
alter function ai.finish_indexing(uuid, uuid, integer, text, jsonb) set statement_timeout = '5min';
