-- The request that asked for a job, so that what its worker logs can be followed back to it.
alter table jobs add column request_id text;
