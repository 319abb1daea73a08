import sys
from confluent_kafka import Producer
bootstrap, topic = sys.argv[1:]
p = Producer({'bootstrap.servers': bootstrap, 'transactional.id': topic})
p.init_transactions()
for value, end in ((b'kept', p.commit_transaction), (b'dropped', p.abort_transaction)):
    p.begin_transaction()
    p.produce(topic, value, partition=0)
    p.flush()
    end()
p = Producer({'bootstrap.servers': bootstrap, 'compression.type': 'zstd'})
for _ in range(50): p.produce(topic, b'squeezed' * 20, partition=0)
p.flush()
p = Producer({'bootstrap.servers': bootstrap, 'compression.type': 'gzip'})
for _ in range(50): p.produce(topic, b'zipped' * 20, partition=0)
p.flush()
p = Producer({'bootstrap.servers': bootstrap, 'compression.type': 'snappy'})
for _ in range(50): p.produce(topic, b'snapped' * 20, partition=0)
p.flush()
