-- A call about a source that is taken out while it is indexed has no lease any more, as that of a search never had one.
alter table private.token_reservations
  drop constraint token_reservations_of_indexing_name_a_source,
  drop constraint token_reservations_without_a_lease_expire,
  add constraint token_reservations_of_indexing_name_a_source check (
    case when purpose = 'indexing' then indexed_source_id is not null or expires_at is not null else indexed_source_id is null end
  ),
  add constraint token_reservations_without_a_lease_expire check (
    case purpose when 'search' then expires_at is not null when 'indexing' then (indexed_source_id is null) = (expires_at is not null) else expires_at is null end
  );

comment on column private.token_reservations.indexed_source_id is 'The source whose indexing the call is made for; null when it has been taken out meanwhile.';
comment on column private.token_reservations.expires_at is
  'When a call counts as one that nobody heard of, where there is no lease that could be lost: that of a search, and that about a source that has been taken out.';
