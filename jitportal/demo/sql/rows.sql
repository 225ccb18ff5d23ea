-- Made-up rows, the same at every run: they follow from their numbers. demo.customers says how many customers;
-- everything else grows with it. Names, addresses, cards and ids belong to nobody.

CREATE FUNCTION pg_temp.pick(choices text[], n bigint) RETURNS text IMMUTABLE PARALLEL SAFE LANGUAGE sql
RETURN choices[1 + abs(hashint8(n)::bigint) % array_length(choices, 1)];

CREATE FUNCTION pg_temp.number(n bigint, below bigint) RETURNS bigint IMMUTABLE PARALLEL SAFE LANGUAGE sql
RETURN abs(hashint8(n * 31 + 7)::bigint) % below;

CREATE FUNCTION pg_temp.first_name(n bigint) RETURNS text IMMUTABLE PARALLEL SAFE LANGUAGE sql
RETURN pg_temp.pick('{Ada,Björn,Chiara,Dmitri,Elif,Farid,Greta,Hugo,Inés,Jonas,Katya,Liam,Maja,Nils,Olga,Paulo,Rosa,Sven,Tomás,Ulla,Vera,Wim,Yara,Zoë}', n);

CREATE FUNCTION pg_temp.last_name(n bigint) RETURNS text IMMUTABLE PARALLEL SAFE LANGUAGE sql
RETURN pg_temp.pick('{Alvarez,Bergström,Conti,Dubois,Eriksen,Fischer,Garcia,Hansen,Ivanova,Jansen,Kowalski,Lindqvist,Moreau,Novak,O''Brien,Petrov,Quist,Rossi,Schmidt,Tanaka,Ünal,Virtanen,Weber,Yilmaz,Zieliński}', n * 13 + 5);

INSERT INTO sales.categories
SELECT n, name FROM unnest('{Kitchen,Garden,Books,Toys,Tools,Lighting,Textiles,Outdoor,Music,Stationery}'::text[])
  WITH ORDINALITY AS c (name, n);

INSERT INTO sales.products
SELECT n, 1 + n % 10, 'SKU-' || lpad(n::text, 5, '0'),
       pg_temp.pick('{Small,Large,Folding,Sturdy,Quiet,Bright,Plain,Classic}', n) || ' '
         || pg_temp.pick('{kettle,lamp,shelf,drill,blanket,notebook,puzzle,tent,spade,radio,mug,clock}', n * 3) || ' ' || n,
       199 + pg_temp.number(n, 19800), 50 + pg_temp.number(n * 5, 9000), n % 17 <> 0
FROM generate_series(1, 800) n;

INSERT INTO sales.customers (id, email, full_name, phone, date_of_birth, country, newsletter, created_at)
SELECT n, 'customer' || n || '@example.' || pg_temp.pick('{com,org,net}', n),
       pg_temp.first_name(n) || ' ' || pg_temp.last_name(n),
       CASE WHEN n % 5 <> 0 THEN '+00 555 ' || lpad(pg_temp.number(n, 10000000)::text, 7, '0') END,
       CASE WHEN n % 7 <> 0 THEN date '1940-01-01' + pg_temp.number(n * 11, 24000)::int END,
       pg_temp.pick('{DE,DE,FR,NL,SE,PL,IT,ES}', n * 7), n % 3 = 0,
       timestamptz '2021-01-01 00:00+00' + pg_temp.number(n * 17, 150000000) * interval '1 second'
FROM generate_series(1, current_setting('demo.customers')::bigint) n;

INSERT INTO sales.addresses (customer_id, street, postal_code, city, country)
SELECT id, pg_temp.pick('{Mill Lane,High Street,Station Road,Garden Way,Harbour Quay,Church Hill}', id * 3 + k) || ' '
         || 1 + pg_temp.number(id + k, 180),
       lpad(pg_temp.number(id * 5 + k, 99999)::text, 5, '0'),
       pg_temp.pick('{Northport,Eastham,Westfield,Southbury,Millbrook,Oakdale}', id * 9 + k), country
FROM sales.customers, generate_series(1, 2) k WHERE k = 1 OR id % 4 = 0;

INSERT INTO sales.order_lines
SELECT n, k, p.id, 1 + pg_temp.number(n + k, 3), p.price_cents
FROM generate_series(1, current_setting('demo.customers')::bigint * 15 / 2) n
CROSS JOIN LATERAL generate_series(1, 1 + pg_temp.number(n, 3)) k
JOIN sales.products p ON p.id = 1 + pg_temp.number(n * 10 + k, 800);

INSERT INTO sales.orders (id, customer_id, status, channel, total_cents, placed_at)
SELECT order_id, 1 + pg_temp.number(order_id * 3, current_setting('demo.customers')::bigint),
       pg_temp.pick('{placed,paid,shipped,delivered,delivered,delivered,delivered,returned,cancelled}', order_id),
       pg_temp.pick('{web,web,app,phone}', order_id * 5), sum(quantity * price_cents),
       timestamptz '2025-01-01 00:00+00' + pg_temp.number(order_id * 19, 40000000) * interval '1 second'
FROM sales.order_lines GROUP BY order_id ORDER BY order_id;

INSERT INTO sales.payments (order_id, method, card_number, card_holder, amount_cents, paid_at)
SELECT o.id, CASE WHEN o.id % 3 = 0 THEN 'transfer' ELSE 'card' END,
       CASE WHEN o.id % 3 <> 0 THEN '4000 00' || lpad(pg_temp.number(o.id, 100)::text, 2, '0') || ' '
         || lpad(pg_temp.number(o.id * 3, 10000)::text, 4, '0') || ' ' || lpad(pg_temp.number(o.id * 7, 10000)::text, 4, '0') END,
       CASE WHEN o.id % 3 <> 0 THEN upper(c.full_name) END, o.total_cents, o.placed_at + interval '5 minutes'
FROM sales.orders o JOIN sales.customers c ON c.id = o.customer_id
WHERE o.status NOT IN ('placed', 'cancelled');

INSERT INTO hr.departments
SELECT n, name, 'CC-' || 100 * n
FROM unnest('{Board,Sales,Engineering,Support,Logistics,People}'::text[]) WITH ORDINALITY AS d (name, n);

INSERT INTO hr.employees
SELECT n, 1 + n % 6, CASE WHEN n > 6 THEN 1 + n % 6 END, pg_temp.first_name(n * 101) || ' ' || pg_temp.last_name(n * 103),
       'employee' || n || '@shop.example', 'ID' || lpad((n * 7919 + 1000000)::text, 9, '0'),
       date '1960-01-01' + pg_temp.number(n * 3, 15000)::int,
       pg_temp.pick('{Director,Engineer,Analyst,Agent,Driver,Buyer,Accountant}', n), 2800000 + pg_temp.number(n, 90000) * 100,
       date '2012-01-01' + pg_temp.number(n * 5, 4800)::int
FROM generate_series(1, 180) n;

INSERT INTO hr.absences
SELECT n, 1 + pg_temp.number(n, 180), pg_temp.pick('{holiday,holiday,holiday,sick,parental}', n),
       CASE WHEN n % 4 = 0 THEN pg_temp.pick('{flu,operation,back pain,family visit}', n * 3) END, day, day + 1 + n % 9
FROM generate_series(1, 1200) n, LATERAL (SELECT date '2025-01-01' + pg_temp.number(n * 7, 500)::int) d (day);

INSERT INTO support.topics
SELECT n, name, n * interval '4 hours'
FROM unnest('{Delivery,Payment,Returns,Product,Account}'::text[]) WITH ORDINALITY AS t (name, n);

INSERT INTO support.tickets (id, topic_id, order_id, reporter_email, priority, opened_at, closed_at)
SELECT row_number() OVER (ORDER BY o.id), 1 + o.id % 5, o.id, c.email, pg_temp.pick('{low,normal,normal,high}', o.id),
       o.placed_at + interval '2 days', CASE WHEN o.id % 40 <> 0 THEN o.placed_at + interval '3 days' END
FROM sales.orders o JOIN sales.customers c ON c.id = o.customer_id
WHERE o.id % 20 = 0;

INSERT INTO support.messages (ticket_id, from_customer, body, written_at)
SELECT t.id, k % 2 = 1,
       CASE WHEN k % 2 = 1 THEN 'My parcel for order ' || t.order_id || ' is not here. You reach me at ' || t.reporter_email
            ELSE 'We are looking into it and will write again.' END,
       t.opened_at + k * interval '3 hours'
FROM support.tickets t, generate_series(1, 3) k;

INSERT INTO logistics.warehouses
VALUES (1, 'NOR', 'Northport', 'DE'), (2, 'EAS', 'Eastham', 'PL'), (3, 'WES', 'Westfield', 'NL'), (4, 'SOU', 'Southbury', 'IT');

INSERT INTO logistics.carriers VALUES (1, 'Swift Parcel', 20000), (2, 'Green Wheels', 10000), (3, 'Heavy Haul', 200000);

INSERT INTO logistics.stock_levels
SELECT w.id, p.id, pg_temp.number(w.id * 1000 + p.id, 400), timestamptz '2026-01-01 06:00+00'
FROM logistics.warehouses w, sales.products p;

INSERT INTO logistics.shipments (order_id, warehouse_id, carrier_id, status, weight_grams, shipped_at, delivered_at)
SELECT id, 1 + id % 4, 1 + id % 3, status, 200 + pg_temp.number(id, 9000), placed_at + interval '1 day',
       CASE WHEN status IN ('delivered', 'returned') THEN placed_at + interval '3 days' END
FROM sales.orders WHERE status IN ('shipped', 'delivered', 'returned');

SELECT setval(pg_get_serial_sequence('sales.customers', 'id'), max(id)) FROM sales.customers;
SELECT setval(pg_get_serial_sequence('sales.orders', 'id'), max(id)) FROM sales.orders;
SELECT setval(pg_get_serial_sequence('support.tickets', 'id'), max(id)) FROM support.tickets;
