# docker build -t neurodyn .     --build-arg EXTRAS=all has everything; --build-arg TORCH=auto keeps CUDA
FROM python:3.12-slim
ARG EXTRAS=train
ARG TORCH=cpu
RUN pip install --no-cache-dir uv
COPY . /src
RUN uv pip install --system --no-cache --torch-backend "$TORCH" "/src[$EXTRAS]" && rm -rf /src
WORKDIR /data
ENTRYPOINT ["neurodyn"]
