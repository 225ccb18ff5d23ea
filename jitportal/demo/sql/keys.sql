-- Foreign keys and indexes of the large tables, after their rows.

ALTER TABLE sales.addresses ADD FOREIGN KEY (customer_id) REFERENCES sales.customers;
ALTER TABLE sales.orders ADD FOREIGN KEY (customer_id) REFERENCES sales.customers;
ALTER TABLE sales.order_lines ADD FOREIGN KEY (order_id) REFERENCES sales.orders;
ALTER TABLE sales.order_lines ADD FOREIGN KEY (product_id) REFERENCES sales.products;
ALTER TABLE sales.payments ADD FOREIGN KEY (order_id) REFERENCES sales.orders;
ALTER TABLE support.tickets ADD FOREIGN KEY (topic_id) REFERENCES support.topics;
ALTER TABLE support.tickets ADD FOREIGN KEY (order_id) REFERENCES sales.orders;
ALTER TABLE support.messages ADD FOREIGN KEY (ticket_id) REFERENCES support.tickets;
ALTER TABLE logistics.shipments ADD FOREIGN KEY (order_id) REFERENCES sales.orders;
ALTER TABLE logistics.shipments ADD FOREIGN KEY (warehouse_id) REFERENCES logistics.warehouses;
ALTER TABLE logistics.shipments ADD FOREIGN KEY (carrier_id) REFERENCES logistics.carriers;

CREATE INDEX ON sales.addresses (customer_id);
CREATE INDEX ON sales.orders (customer_id);
CREATE INDEX ON sales.order_lines (product_id);
CREATE INDEX ON sales.payments (order_id);
CREATE INDEX ON support.tickets (order_id);
CREATE INDEX ON support.messages (ticket_id);
CREATE INDEX ON logistics.shipments (order_id);
